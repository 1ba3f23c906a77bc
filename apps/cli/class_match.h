// How the classes of a data set correspond to those of a network. If both have names, the names decide. Names that do
// not match are an error unless the user insists; otherwise a circle might be called an airplane.
#pragma once

#include <sparsenet/status.h>

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace sparsenet::cli {

struct ClassMatch {
  std::vector<int64_t> indices;  // the network's index for each class of the data; empty: the same indices
  // Why the data's indices should not be used unchanged; empty: there is no reason.
  std::string conflict;
  // What was assumed without anything confirming it; empty: nothing.
  std::string assumption;

  int64_t index_of(int64_t label) const {
    return label >= 0 && label < static_cast<int64_t>(indices.size()) ? indices[static_cast<size_t>(label)] : label;
  }
};

// For a network of `classes` classes with these names (or none). `whose` is "the model's" or "those of --data".
ClassMatch match_classes(const io::Dataset& data, const std::vector<std::string>& labels, int64_t classes,
                         const std::string& whose);

// The number of classes of a data set, as it states or as its labels show: the largest label plus 1.
int64_t count_classes(const io::Dataset& data);

// "cat, dog, fish": the first few names, and how many there are if not all are listed.
std::string name_list(const std::vector<std::string>& names);

}  // namespace sparsenet::cli

// How the classes of a data set stand among those of a network. Names decide where both have them; where they do not
// fit, a circle would be called an airplane, so that is an error unless the user insists.
#pragma once

#include <sparsenet/status.h>

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace sparsenet::cli {

struct ClassMatch {
  std::vector<int64_t> indices;  // the network's index of each of the data's classes; empty: indices as they are
  // What speaks against taking the indices as they are; empty: nothing does.
  std::string conflict;
  // What was taken for granted, although nothing says it; empty: nothing.
  std::string assumption;

  int64_t index_of(int64_t label) const {
    return label >= 0 && label < static_cast<int64_t>(indices.size()) ? indices[static_cast<size_t>(label)] : label;
  }
};

// For a network of `classes` classes with these names (or none). `whose` is "the model's" or "those of --data".
ClassMatch match_classes(const io::Dataset& data, const std::vector<std::string>& labels, int64_t classes,
                         const std::string& whose);

// How many classes a data set has, as it says or as its labels show: the largest label and 1.
int64_t count_classes(const io::Dataset& data);

// "cat, dog, fish": the first few, and how many there are if these are not all.
std::string name_list(const std::vector<std::string>& names);

}  // namespace sparsenet::cli

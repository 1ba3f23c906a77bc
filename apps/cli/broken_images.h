// Images that cannot be read, gathered so that all of them are told at once.
#pragma once

#include <sparsenet/status.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace sparsenet::cli {

class BrokenImages {
 public:
  struct Image {
    std::string file, reason;  // the reason names the file
    int64_t label;             // as the data has it
  };

  // Notes that image `index` gave this error, and returns true, where that says something of this image alone: it has
  // a file of its own, and memory did not run out.
  bool take(const io::Dataset& data, int64_t index, const Status& error);

  // After the last image. An error names all of them; with `skip` only those classes of which nothing is left.
  Status check(const io::Dataset& data, const std::string& name, bool skip) const;

  const std::vector<Image>& images() const { return images_; }
  // "3 of 120 images cannot be read", and a line for each.
  std::string text(int64_t all) const;

 private:
  std::vector<Image> images_;
  std::map<int64_t, int64_t> of_class_;
};

}  // namespace sparsenet::cli

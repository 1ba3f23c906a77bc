// Images that cannot be read, collected so that all of them are reported at once.
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
    int64_t label;             // as in the data
  };

  // Returns true, and notes that image `index` failed with this error, if the error concerns this image alone: the
  // image has a file of its own, and memory did not run out.
  bool take(const io::Dataset& data, int64_t index, const Status& error);

  // To be called after the last image. The error names all unreadable images; with `skip` only classes without any
  // remaining image are an error.
  Status check(const io::Dataset& data, const std::string& name, bool skip) const;

  const std::vector<Image>& images() const { return images_; }
  // "3 of 120 images cannot be read", followed by a line for each.
  std::string text(int64_t all) const;

 private:
  std::vector<Image> images_;
  std::map<int64_t, int64_t> of_class_;
};

}  // namespace sparsenet::cli

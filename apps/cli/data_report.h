// What a command reports about the data it read: images per class, what was left out, mean and deviation of the pixels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/broken_images.h"
#include "cli/output.h"
#include "data/dataset.h"

namespace sparsenet::cli {

class DataReport {
 public:
  // Counts the images of `data`, opened as `name`.
  DataReport(const io::Dataset& data, std::string name);

  // Images that could not be read and were left out are no longer counted.
  void skipped(const BrokenImages& broken);
  // Mean and standard deviation per channel, for pixels of 0..255; `remark` says what they are used for, or nothing.
  void measured(const std::vector<float>& mean, const std::vector<float>& std_dev, const std::string& remark);

  // The first line begins with `heading`, the others with the same number of spaces.
  std::vector<std::string> lines(const std::string& heading) const;
  // {data, images, classes: [{name, images}], left_out, skipped: [file], mean, std}; names and mean only if known.
  Json json() const;

 private:
  std::string classes_text() const;

  std::string name_;
  int64_t all_, images_;
  std::vector<int64_t> labels_;           // labels with a class name or with images, in order
  std::vector<std::string> class_names_;  // of these labels; the labels as text if there are no names
  std::vector<int64_t> of_class_;         // number of images with these labels
  io::LeftOut left_out_;
  BrokenImages broken_;
  std::vector<float> mean_, std_dev_;
  std::string remark_;
};

}  // namespace sparsenet::cli

// Labelled images, all of them read and checked before training begins.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cli/broken_images.h"
#include "cli/class_match.h"
#include "data/dataset.h"
#include "data/preprocess.h"

namespace sparsenet::cli {

class TrainData {
 public:
  // Reads `data`, which was opened as `name`, for a network with inputs of shape `input` and `classes` classes, matched
  // as in `match`. Images are kept as bytes in the input's size (images of other sizes are resized by the metadata's
  // rule and rounded); ready-made inputs stay in their file. Errors name every file that cannot be read, or the image
  // that has another shape, is not finite, or has a label that is not a class of the network. With `skip_broken`, files
  // that cannot be read are left out, but it is an error if that is all of a class.
  static Result<TrainData> read(std::unique_ptr<io::Dataset> data, const std::string& name, const Shape& input,
                                const Metadata& metadata, int64_t classes, const ClassMatch& match, bool skip_broken);

  int64_t size() const { return static_cast<int64_t>(labels_.size()); }
  int channels() const { return raw_.channels(); }
  int height() const { return raw_.height(); }
  int width() const { return raw_.width(); }
  size_t elements() const { return raw_.elements(); }
  int32_t label(int64_t index) const { return labels_[static_cast<size_t>(index)]; }
  uint64_t hash() const { return hash_; }  // of all pixels and labels
  const BrokenImages& skipped() const { return broken_; }

  // Mean and deviation of each channel's bytes, rounded to a tenth, for data sets without known ones; false for
  // ready-made inputs.
  bool measure(std::vector<float>& mean, std::vector<float>& std_dev) const;

  // From now on inputs are (pixel - mean) / std, with one value per channel; an empty list stands for 0 or 1
  // respectively.
  void normalise(const std::vector<float>& mean, const std::vector<float>& std_dev);
  // The network's input for one image: elements() values, [channel][row][column].
  Status input(int64_t index, float* out) const;

 private:
  explicit TrainData(io::Preprocess raw) : raw_(std::move(raw)) {}
  Status read_bytes(const io::Dataset& data, const std::string& name, bool skip_broken);
  Status check_values(const io::Dataset& data, const std::string& name);
  Status read_labels(const io::Dataset& data, const std::string& name, int64_t classes, const ClassMatch& match);

  io::Preprocess raw_;          // to the input's size and channels, without mean and std
  std::vector<uint8_t> bytes_;  // empty for ready-made inputs, which `source_` holds
  std::unique_ptr<io::Dataset> source_;
  std::vector<int32_t> labels_;
  BrokenImages broken_;
  std::vector<float> table_;  // [channel][byte]: the normalised value
  uint64_t hash_ = 0;
};

}  // namespace sparsenet::cli

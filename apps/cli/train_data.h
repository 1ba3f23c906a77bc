// Labelled images, read and checked whole before training begins.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/dataset.h"
#include "io/preprocess.h"

namespace sparsenet::cli {

class TrainData {
 public:
  // `data` opened as `name`, for a network with inputs of shape `input` and `classes` classes. Where all names of the
  // data's classes are among `labels`, they decide which class is which. Images are kept as bytes in the input's size
  // (those of another size are resized, by the metadata's rule, and rounded); ready-made inputs stay in their file.
  // Errors name the image: unreadable, of another shape, not finite, a label that is no class of the network.
  static Result<TrainData> read(std::unique_ptr<io::Dataset> data, const std::string& name, const Shape& input,
                                const Metadata& metadata, int64_t classes, const std::vector<std::string>& labels);

  int64_t size() const { return static_cast<int64_t>(labels_.size()); }
  int channels() const { return raw_.channels(); }
  int height() const { return raw_.height(); }
  int width() const { return raw_.width(); }
  size_t elements() const { return raw_.elements(); }
  int32_t label(int64_t index) const { return labels_[static_cast<size_t>(index)]; }
  uint64_t hash() const { return hash_; }  // of all pixels and labels

  // Mean and deviation of the channels' bytes, for a data set without known ones, to a tenth; false for ready-made
  // inputs.
  bool measure(std::vector<float>& mean, std::vector<float>& std_dev) const;

  // (pixel - mean) / std from now on, one value a channel; an empty list stands for 0 and 1.
  void normalise(const std::vector<float>& mean, const std::vector<float>& std_dev);
  // The network's input for one image: elements() values, [channel][row][column].
  Status input(int64_t index, float* out) const;

 private:
  explicit TrainData(io::Preprocess raw) : raw_(std::move(raw)) {}
  Status read_bytes(const io::Dataset& data, const std::string& name);
  Status check_values(const io::Dataset& data, const std::string& name);
  Status read_labels(const io::Dataset& data, const std::string& name, int64_t classes,
                     const std::vector<std::string>& labels);

  io::Preprocess raw_;          // to the input's size and channels, without mean and std
  std::vector<uint8_t> bytes_;  // empty for ready-made inputs, which `source_` holds
  std::unique_ptr<io::Dataset> source_;
  std::vector<int32_t> labels_;
  std::vector<float> table_;  // [channel][byte]: the normalised value
  uint64_t hash_ = 0;
};

}  // namespace sparsenet::cli

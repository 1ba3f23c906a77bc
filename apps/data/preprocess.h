// From decoded images to a network's input, according to the model file's metadata.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <string>
#include <vector>

#include "data/image.h"

namespace sparsenet::io {

// What a model file states about mean and std, the most common cause of an unexplained loss of accuracy.
enum class Normalisation : uint8_t {
  kStored,         // values for pixels of 0..255
  kMissing,        // none: pixels are used unchanged. (Mean 0 and std 1 in the file mean that this is intended.)
  kLooksUnitRange  // values that only make sense for pixels of 0..1; the file's are for 0..255
};
Normalisation normalisation_of(const Metadata& metadata);

class Preprocess {
 public:
  // For an input of shape [N, C, H, W] with C = 3 (RGB, BGR) or 1 (GRAY). Errors: kInvalidModel if the input is not an
  // image or the metadata does not fit it.
  static Result<Preprocess> create(const Shape& input, const Metadata& metadata);

  // For an input of int8 or uint8: ready-made inputs of the same type are its integers.
  void set_integers(DataType type, const Quantization& quantization) {
    type_ = type;
    scale_ = quantization.scales[0];
    zero_point_ = quantization.zero_points[0];
  }
  DataType type() const { return type_; }
  float real(float integer) const { return scale_ * (integer - static_cast<float>(zero_point_)); }

  int channels() const { return channels_; }
  int height() const { return height_; }
  int width() const { return width_; }
  size_t elements() const {
    return static_cast<size_t>(channels_) * static_cast<size_t>(height_) * static_cast<size_t>(width_);
  }

  // Resizes, orders the channels and normalises: writes elements() values, [channel][row][column], each (pixel - mean)
  // / std.
  void apply(const Image& image, float* out) const;

 private:
  enum class Order { kRgb, kBgr, kGray };
  Order order_ = Order::kRgb;
  bool crop_ = false;
  DataType type_ = DataType::kFloat32;
  float scale_ = 1;
  int32_t zero_point_ = 0;
  int channels_ = 0, height_ = 0, width_ = 0;
  std::vector<float> mean_, std_dev_;  // one per channel of the input, in the input's order
};

}  // namespace sparsenet::io

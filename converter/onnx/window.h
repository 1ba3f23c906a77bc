// Kernel, stride, dilation and padding, which Conv and the pooling operators of ONNX have in common.
#pragma once

#include <array>

#include "converter/onnx/node_context.h"

namespace sparsenet::converter {

struct Window {
  std::array<int32_t, 2> kernel{1, 1}, stride{1, 1}, dilation{1, 1};
  std::array<int32_t, 4> pads{0, 0, 0, 0};  // top, left, bottom, right

  bool line = false;  // one dimension only: an image of one row

  // Reads the attributes. `weight_kernel` is the kernel size that a weight implies; empty: the attribute is required.
  Status read(NodeContext& c, const std::vector<int64_t>& weight_kernel);
  // Whether padding is chosen so that the output has ceil(input / stride) rows and columns.
  bool is_same() const { return auto_pad_ == "SAME_UPPER" || auto_pad_ == "SAME_LOWER"; }
  // [N, C, L] as an image of one row, [N, C, 1, L], if the window has one dimension.
  Shape image_shape(const Shape& input) const;
  // Computes the padding that auto_pad asks for, for an input [N, C, H, W].
  Status resolve(const Shape& input);

 private:
  std::string auto_pad_;
};

}  // namespace sparsenet::converter

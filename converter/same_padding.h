// "SAME" padding as TensorFlow and ONNX's auto_pad define it.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sparsenet::converter {

// Padding before and after one axis, so that the output has ceil(input / stride) elements. If the total is odd, the
// larger half goes after, or before with `extra_first` (ONNX's SAME_LOWER).
inline void same_padding(int64_t input, int64_t kernel, int64_t stride, int64_t dilation, bool extra_first,
                         int32_t* before, int32_t* after) {
  const int64_t output = (input + stride - 1) / stride;
  const int64_t window = (kernel - 1) * dilation + 1;
  const int64_t total = std::max<int64_t>(0, (output - 1) * stride + window - input);
  const int64_t first = extra_first ? total - total / 2 : total / 2;
  *before = static_cast<int32_t>(first);
  *after = static_cast<int32_t>(total - first);
}

}  // namespace sparsenet::converter

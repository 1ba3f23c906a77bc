#include "step/window_check.h"

#include "step/view_check.h"

namespace sparsenet::rt {

const char* check_window(const Step& s, const View& in, const View& out, int64_t* weights) {
  const int32_t window[] = {s.window.kernel_h, s.window.kernel_w,   s.window.stride_h,
                            s.window.stride_w, s.window.dilation_h, s.window.dilation_w};
  for (int32_t value : window) {
    if (value < 1 || value > kMaxWindow) return "convolution: expected kernel, stride and dilation of 1 to 4096";
  }
  const int32_t pads[] = {s.window.pad_top, s.window.pad_left, s.window.pad_bottom, s.window.pad_right};
  for (int32_t value : pads) {
    if (value < 0 || value > kMaxWindow) return "convolution: expected padding of 0 to 4096";
  }
  if (s.conv.groups < 1 || in.c % s.conv.groups != 0 || out.c % s.conv.groups != 0) {
    return "convolution: expected groups that divide the channels of input and output";
  }
  // Kernels copy rows of an image with their padding, and count their elements in 32 bits.
  int64_t padded = in.c;
  const int64_t sides[] = {int64_t{in.h} + s.window.pad_top + s.window.pad_bottom,
                           int64_t{in.w} + s.window.pad_left + s.window.pad_right};
  for (const int64_t side : sides) {
    padded = side > kMostElements ? side : padded * side;
    if (padded > kMostElements) return "convolution: expected an image of at most 1073741824 elements with its padding";
  }
  // All of these are below 2^31: the sides by the check above, the others by their own.
  const int32_t rows = static_cast<int32_t>(sides[0]) - (s.window.kernel_h - 1) * s.window.dilation_h - 1;
  const int32_t columns = static_cast<int32_t>(sides[1]) - (s.window.kernel_w - 1) * s.window.dilation_w - 1;
  if (rows < 0 || columns < 0 || out.n != in.n || out.h != rows / s.window.stride_h + 1 ||
      out.w != columns / s.window.stride_w + 1) {
    return "convolution: the output's size does not follow from input and window";
  }
  const int32_t filter[] = {out.c, in.c / s.conv.groups, s.window.kernel_h, s.window.kernel_w};
  if (!countable(filter, 4)) return "convolution: too many weights";
  *weights = int64_t{out.c} * (in.c / s.conv.groups) * s.window.kernel_h * s.window.kernel_w;
  return nullptr;
}

}  // namespace sparsenet::rt

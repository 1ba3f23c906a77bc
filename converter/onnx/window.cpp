#include "converter/onnx/window.h"

#include "converter/same_padding.h"

namespace sparsenet::converter {
namespace {

constexpr int64_t kMax = 1 << 12;  // larger windows are a sign of damage, not of real networks

Status read_values(const char* key, const std::vector<int64_t>& values, size_t count, int64_t low, int32_t* out) {
  if (values.size() != count) {
    return unsupported(std::string(key) + ": expected " + std::to_string(count) +
                       " values (one or two dimensions), found " + std::to_string(values.size()));
  }
  for (size_t i = 0; i < count; ++i) {
    if (values[i] < low || values[i] > kMax) {
      return unsupported(std::string(key) + ": expected " + std::to_string(low) + " to " + std::to_string(kMax) +
                         ", found " + std::to_string(values[i]));
    }
    out[i] = static_cast<int32_t>(values[i]);
  }
  return {};
}

}  // namespace

Status Window::read(NodeContext& c, const std::vector<int64_t>& weight_kernel) {
  const std::vector<int64_t> kernel_shape = c.ints_attribute("kernel_shape", weight_kernel);
  if (!weight_kernel.empty() && kernel_shape != weight_kernel) {
    return invalid_model("kernel_shape: expected " + to_string(weight_kernel) + " as the weight has, found " +
                         to_string(kernel_shape));
  }
  line = kernel_shape.size() == 1;
  const size_t n = line ? 1 : 2, first = 2 - n;  // a line is the second dimension
  const std::vector<int64_t> ones(n, 1), none(2 * n, 0);
  SPARSENET_RETURN_IF_ERROR(read_values("kernel_shape", kernel_shape, n, 1, &kernel[first]));
  SPARSENET_RETURN_IF_ERROR(read_values("strides", c.ints_attribute("strides", ones), n, 1, &stride[first]));
  SPARSENET_RETURN_IF_ERROR(read_values("dilations", c.ints_attribute("dilations", ones), n, 1, &dilation[first]));
  SPARSENET_RETURN_IF_ERROR(read_values("pads", c.ints_attribute("pads", none), 2 * n, 0, pads.data()));
  if (line) pads = {0, pads[0], 0, pads[1]};
  auto_pad_ = c.string_attribute("auto_pad", "NOTSET");
  if (auto_pad_ != "NOTSET" && auto_pad_ != "VALID" && auto_pad_ != "SAME_UPPER" && auto_pad_ != "SAME_LOWER") {
    return unsupported("auto_pad: expected NOTSET, VALID, SAME_UPPER or SAME_LOWER, found '" + auto_pad_ + "'");
  }
  return {};
}

Shape Window::image_shape(const Shape& input) const {
  return line && input.size() == 3 ? Shape{input[0], input[1], 1, input[2]} : input;
}

Status Window::resolve(const Shape& input) {
  if (input.size() != 4) return unsupported("input: expected [N, C, H, W], found " + to_string(input));
  if (auto_pad_ == "VALID") pads = {0, 0, 0, 0};
  if (!is_same()) return {};
  for (size_t d = 0; d < 2; ++d) {
    same_padding(input[d + 2], kernel[d], stride[d], dilation[d], auto_pad_ == "SAME_LOWER", &pads[d], &pads[d + 2]);
  }
  return {};
}

}  // namespace sparsenet::converter

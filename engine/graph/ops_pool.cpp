// Shape rules of pooling and reduction.
#include "graph/ops.h"

namespace sparsenet {

Status infer_pool(ShapeContext& c) {
  const auto& a = std::get<PoolAttrs>(c.node.attrs);
  const Shape& x = c.input(0);
  if (x.size() != 4) return c.mismatch("input", "rank 4", to_string(x));
  Shape out{x[0], x[1], 0, 0};
  for (size_t d = 0; d < 2; ++d) {
    constexpr int32_t kMax = 1 << 12;
    if (a.kernel[d] < 1 || a.kernel[d] > kMax || a.stride[d] < 1 || a.stride[d] > kMax) {
      return c.mismatch("kernel and stride", "1 to " + std::to_string(kMax),
                        std::to_string(a.kernel[d]) + " and " + std::to_string(a.stride[d]));
    }
    const int64_t before = a.pads[d], after = a.pads[d + 2];
    if (before < 0 || after < 0 || before >= a.kernel[d] || after >= a.kernel[d]) {
      return c.mismatch("padding", "0 to kernel - 1", std::to_string(before) + " and " + std::to_string(after));
    }
    const int64_t span = x[d + 2] + before + after - a.kernel[d];
    if (span < 0) {
      return c.mismatch("input", "at least " + std::to_string(a.kernel[d]) + " rows and columns with padding",
                        to_string(x));
    }
    int64_t size = (a.ceil_mode ? (span + a.stride[d] - 1) : span) / a.stride[d] + 1;
    // A window that would start beyond the input and its leading padding sees nothing and is dropped.
    if (a.ceil_mode && (size - 1) * a.stride[d] >= x[d + 2] + before) --size;
    out[d + 2] = size;
  }
  c.outputs[0] = std::move(out);
  return {};
}

Status infer_global_average_pool(ShapeContext& c) {
  const Shape& x = c.input(0);
  if (x.size() != 4) return c.mismatch("input", "rank 4", to_string(x));
  c.outputs[0] = {x[0], x[1], 1, 1};
  return {};
}

Status infer_reduce_mean(ShapeContext& c) {
  const auto& a = std::get<ReduceAttrs>(c.node.attrs);
  const Shape& x = c.input(0);
  if (a.axes.empty()) return invalid_model("no axes to reduce");
  Shape out;
  size_t next = 0;
  for (size_t d = 0; d < x.size(); ++d) {
    if (next < a.axes.size() && a.axes[next] == static_cast<int32_t>(d)) {
      ++next;
      if (a.keep_dims) out.push_back(1);
    } else {
      out.push_back(x[d]);
    }
  }
  if (next != a.axes.size()) return invalid_model("axes: expected ascending axes of " + to_string(x));
  c.outputs[0] = std::move(out);
  return {};
}

}  // namespace sparsenet

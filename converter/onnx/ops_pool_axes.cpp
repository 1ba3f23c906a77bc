// ONNX pools that no op of ours computes at once: over three dimensions and more, and with gaps in the window. A window
// is the product of its ranges, so the maximum or the mean is taken along one dimension after the other; also the count
// of elements that are no padding is a product.
#include <algorithm>
#include <limits>

#include "converter/onnx/compose.h"
#include "converter/same_padding.h"

namespace sparsenet::converter {
namespace {

struct Axis {
  int32_t kernel = 1, stride = 1, dilation = 1, before = 0, after = 0;
  int64_t in = 1, out = 1;
  int64_t reach() const { return int64_t{kernel - 1} * dilation + 1; }
};

struct Request {
  bool average = false, ceil_mode = false, counts_padding = false;
};

Status read_axes(NodeContext& c, const Shape& shape, bool ceil_mode, std::vector<Axis>* axes) {
  const std::vector<int64_t> kernel = c.ints_attribute("kernel_shape");
  const size_t n = kernel.size();
  const std::vector<int64_t> strides = c.ints_attribute("strides", std::vector<int64_t>(n, 1));
  const std::vector<int64_t> dilations = c.ints_attribute("dilations", std::vector<int64_t>(n, 1));
  const std::vector<int64_t> pads = c.ints_attribute("pads", std::vector<int64_t>(2 * n, 0));
  const std::string auto_pad = c.string_attribute("auto_pad", "NOTSET");
  if (shape.size() != n + 2 || strides.size() != n || dilations.size() != n || pads.size() != 2 * n) {
    return invalid_model(
        "kernel_shape, strides, dilations, pads: expected one for each of the dimensions behind the "
        "channels of " +
        to_string(shape));
  }
  constexpr int64_t kMost = 1 << 12;
  const auto in_range = [](int64_t value, int64_t low) { return value >= low && value <= kMost; };
  for (size_t d = 0; d < n; ++d) {
    if (!in_range(kernel[d], 1) || !in_range(strides[d], 1) || !in_range(dilations[d], 1) || !in_range(pads[d], 0) ||
        !in_range(pads[n + d], 0)) {
      return unsupported("kernel_shape, strides, dilations, pads: expected at most " + std::to_string(kMost));
    }
    Axis axis;
    axis.in = shape[d + 2];
    axis.kernel = static_cast<int32_t>(kernel[d]);
    axis.stride = static_cast<int32_t>(strides[d]);
    axis.dilation = static_cast<int32_t>(dilations[d]);
    if (auto_pad == "NOTSET") {
      axis.before = static_cast<int32_t>(pads[d]);
      axis.after = static_cast<int32_t>(pads[n + d]);
    } else if (auto_pad != "VALID") {
      same_padding(axis.in, axis.kernel, axis.stride, axis.dilation, auto_pad == "SAME_LOWER", &axis.before,
                   &axis.after);
    }
    const int64_t span = axis.in + axis.before + axis.after - axis.reach();
    if (span < 0) return invalid_model("input " + to_string(shape) + " is smaller than the window");
    axis.out = (ceil_mode ? span + axis.stride - 1 : span) / axis.stride + 1;
    if (ceil_mode && (axis.out - 1) * axis.stride >= axis.in + axis.before) --axis.out;
    axes->push_back(axis);
  }
  return {};
}

// 1 / the number of elements in every window, as a column.
ValueId reciprocal_counts(const Request& r, const Axis& axis, Compose* g) {
  const int64_t first = r.counts_padding ? -axis.before : 0, end = axis.in + (r.counts_padding ? axis.after : 0);
  Elements<float> values;
  values.resize(static_cast<size_t>(axis.out));
  for (int64_t o = 0; o < axis.out; ++o) {
    int64_t count = 0;
    for (int64_t tap = 0; tap < axis.kernel; ++tap) {
      const int64_t at = o * axis.stride + tap * axis.dilation - axis.before;
      count += at >= first && at < end ? 1 : 0;
    }
    values.data()[o] = 1.f / static_cast<float>(std::max<int64_t>(count, 1));
  }
  return g->constant({axis.out, 1}, std::move(values));
}

// Along the rows of images, for windows with gaps or with more padding than the ops take: every element of the window
// is a slice.
ValueId pool_slices(const Request& r, const Axis& axis, ValueId images, Compose* g) {
  constexpr int32_t kMostTaps = 64;
  if (axis.kernel > kMostTaps) {
    g->fail(unsupported("dilations with a window of more than " + std::to_string(kMostTaps) +
                        " elements along a "
                        "dimension"));
  }
  if (!g->ok()) return kNoValue;
  PadAttrs pad;
  pad.before = pad.after = {0, 0, 0, 0};
  pad.before[2] = axis.before;
  pad.after[2] = std::max<int64_t>(0, (axis.out - 1) * axis.stride + axis.reach() - axis.in - axis.before);
  pad.value = r.average ? 0.f : std::numeric_limits<float>::lowest();
  const ValueId padded = g->node(Op::kPad, {images}, std::move(pad));
  ValueId y = kNoValue;
  for (int64_t tap = 0; tap < axis.kernel; ++tap) {
    const int64_t start = tap * axis.dilation;
    const ValueId part = g->node(Op::kSlice, {padded},
                                 SliceAttrs{{2}, {start}, {start + (axis.out - 1) * axis.stride + 1}, {axis.stride}});
    y = tap == 0 ? part : g->node(r.average ? Op::kAdd : Op::kMax, {y, part});
  }
  return r.average ? g->node(Op::kMul, {y, reciprocal_counts(r, axis, g)}) : y;
}

ValueId pool_rows(const Request& r, const Axis& axis, ValueId images, Compose* g) {
  if (axis.dilation > 1 || axis.before >= axis.kernel || axis.after >= axis.kernel) {
    return pool_slices(r, axis, images, g);
  }
  PoolAttrs attrs;
  attrs.kernel = {axis.kernel, 1};
  attrs.stride = {axis.stride, 1};
  attrs.pads = {axis.before, 0, axis.after, 0};
  attrs.ceil_mode = r.ceil_mode;
  attrs.count_include_pad = r.average && r.counts_padding;
  return g->node(r.average ? Op::kAveragePool : Op::kMaxPool, {images}, attrs);
}

}  // namespace

Status import_pool_by_axes(NodeContext& c) {
  Request r;
  r.average = c.op() == "AveragePool";
  r.ceil_mode = c.int_attribute("ceil_mode", 0) != 0;
  r.counts_padding = c.int_attribute("count_include_pad", 0) != 0;
  SPARSENET_ASSIGN_OR_RETURN(const ValueId x, c.value(0));
  Compose g(c);
  Shape shape = g.shape(x);
  std::vector<Axis> axes;
  SPARSENET_RETURN_IF_ERROR(read_axes(c, shape, r.ceil_mode, &axes));
  ValueId y = x;
  for (size_t d = 0; d < axes.size(); ++d) {
    const Axis& axis = axes[d];
    if (axis.kernel == 1 && axis.stride == 1 && axis.before == 0 && axis.after == 0) continue;
    const size_t at = d + 2;
    int64_t outer = 1, inner = 1;
    for (size_t e = 1; e < at; ++e) outer *= shape[e];
    for (size_t e = at + 1; e < shape.size(); ++e) inner *= shape[e];
    y = pool_rows(r, axis, g.reshape(y, {shape[0], outer, axis.in, inner}), &g);
    shape[at] = axis.out;
    y = g.reshape(y, shape);
  }
  return g.finish(y);
}

}  // namespace sparsenet::converter

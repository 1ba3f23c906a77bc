// ONNX pooling.
#include <algorithm>
#include <limits>

#include "converter/onnx/compose.h"
#include "converter/onnx/window.h"

namespace sparsenet::converter {
namespace {

// Dilated pooling is rare and has no operator of its own: pad with the lowest value, extract one image for each
// position in the window, arrange these side by side as columns and take the maximum over each row.
Status import_dilated_max_pool(NodeContext& c, const Window& window, bool ceil_mode, ValueId x) {
  const Shape shape = c.writer().shape(x);
  PadAttrs pad;
  pad.before = pad.after = {0, 0, 0, 0};
  pad.value = std::numeric_limits<float>::lowest();
  std::array<int64_t, 2> size{};
  for (size_t d = 0; d < 2; ++d) {
    const int64_t reach = int64_t{window.kernel[d] - 1} * window.dilation[d] + 1;
    const int64_t span = shape[d + 2] + window.pads[d] + window.pads[d + 2] - reach;
    if (span < 0) return invalid_model("input " + to_string(shape) + " is smaller than the window");
    size[d] = (ceil_mode ? span + window.stride[d] - 1 : span) / window.stride[d] + 1;
    if (ceil_mode && (size[d] - 1) * window.stride[d] >= shape[d + 2] + window.pads[d]) --size[d];
    const int64_t needed = (size[d] - 1) * window.stride[d] + reach;
    pad.before[d + 2] = window.pads[d];
    pad.after[d + 2] = std::max<int64_t>(0, needed - shape[d + 2] - window.pads[d]);
  }
  constexpr int32_t kMaxTaps = 64;
  const int32_t taps = window.kernel[0] * window.kernel[1];
  if (taps > kMaxTaps)
    return unsupported("dilations with a window of more than " + std::to_string(kMaxTaps) + " elements");
  SPARSENET_ASSIGN_OR_RETURN(ValueId padded, c.writer().node(Op::kPad, c.name(), {x}, pad, c.name() + ".padded"));
  std::vector<ValueId> columns;
  for (int32_t tap = 0; tap < taps; ++tap) {
    SliceAttrs slice;
    const std::array<int64_t, 2> at{tap / window.kernel[1], tap % window.kernel[1]};
    for (size_t d = 0; d < 2; ++d) {
      slice.axes.push_back(static_cast<int32_t>(d + 2));
      slice.starts.push_back(at[d] * window.dilation[d]);
      slice.ends.push_back(at[d] * window.dilation[d] + (size[d] - 1) * window.stride[d] + 1);
      slice.steps.push_back(window.stride[d]);
    }
    SPARSENET_ASSIGN_OR_RETURN(ValueId part,
                               c.writer().node(Op::kSlice, c.name(), {padded}, std::move(slice), c.name() + ".tap"));
    Result<ValueId> column =
        c.writer().reshape(c.name(), part, {shape[0], shape[1], size[0] * size[1], 1}, c.name() + ".column");
    if (!column.ok()) return column.status();
    columns.push_back(*column);
  }
  SPARSENET_ASSIGN_OR_RETURN(
      ValueId rows, c.writer().node(Op::kConcat, c.name(), std::move(columns), AxisAttrs{3}, c.name() + ".taps"));
  PoolAttrs pool;
  pool.kernel = {1, taps};
  SPARSENET_ASSIGN_OR_RETURN(ValueId maximum,
                             c.writer().node(Op::kMaxPool, c.name(), {rows}, pool, c.name() + ".maximum"));
  SPARSENET_ASSIGN_OR_RETURN(
      ValueId y, c.writer().reshape(c.name(), maximum, {shape[0], shape[1], size[0], size[1]}, c.output_name(0)));
  c.set_output(0, y);
  return {};
}

Status import_pool(NodeContext& c) {
  const bool average = c.op() == "AveragePool";
  const std::vector<int64_t> dilations = c.ints_attribute("dilations");
  const bool dilated = std::any_of(dilations.begin(), dilations.end(), [](int64_t gap) { return gap != 1; });
  const size_t dimensions = c.ints_attribute("kernel_shape").size();
  Window window;
  if (dimensions < 3) SPARSENET_RETURN_IF_ERROR(window.read(c, {}));
  if (!average && c.output_is_used(1)) return unsupported("the indices of the maxima (output 1) are used");
  PoolAttrs attrs;
  attrs.ceil_mode = c.int_attribute("ceil_mode", 0) != 0;
  const std::string auto_pad = c.string_attribute("auto_pad", "NOTSET");
  const bool same = auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER";
  // The specification and ONNX Runtime use different sizes or windows in this case, and it is unknown which was meant.
  if (same && (dilated || attrs.ceil_mode)) {
    return unsupported(std::string("auto_pad SAME together with ") + (dilated ? "dilations" : "ceil_mode") +
                       ": write the padding out as pads");
  }
  if (dimensions > 2 || (dilated && (average || window.line))) return import_pool_by_axes(c);
  attrs.count_include_pad = average && c.int_attribute("count_include_pad", 0) != 0;
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  const Shape image = window.image_shape(c.writer().shape(x));
  SPARSENET_RETURN_IF_ERROR(window.resolve(image));
  if (dilated) return import_dilated_max_pool(c, window, attrs.ceil_mode, x);
  attrs.kernel = window.kernel;
  attrs.stride = window.stride;
  attrs.pads = window.pads;
  const Op op = average ? Op::kAveragePool : Op::kMaxPool;
  if (!window.line) return c.emit(op, {x}, attrs);
  Compose g(c);
  const ValueId y = g.node(op, {g.reshape(x, image)}, attrs);
  const Shape s = g.shape(y);
  return g.finish(g.ok() ? g.reshape(y, {s[0], s[1], s[3]}) : y);
}

Status import_global_average_pool(NodeContext& c) {
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  const size_t rank = c.writer().shape(x).size();
  if (rank == 4 || rank < 3) return c.emit(Op::kGlobalAveragePool, {x});
  std::vector<int32_t> axes;
  for (size_t d = 2; d < rank; ++d) axes.push_back(static_cast<int32_t>(d));
  return c.emit(Op::kReduceMean, {x}, ReduceAttrs{axes, true});
}

// Over all dimensions behind the channels.
Status import_global_max_pool(NodeContext& c) {
  Compose g(c);
  const ValueId x = g.input(0);
  std::vector<int32_t> axes;
  for (size_t d = 2; d < g.shape(x).size(); ++d) axes.push_back(static_cast<int32_t>(d));
  if (g.ok() && axes.empty()) return unsupported("input: expected [N, C, H, W], found " + to_string(g.shape(x)));
  return g.finish(g.maximum(x, axes));
}

}  // namespace

NodeImporter find_pool_op(const std::string& op) {
  if (op == "MaxPool" || op == "AveragePool") return import_pool;
  if (op == "GlobalAveragePool") return import_global_average_pool;
  if (op == "GlobalMaxPool") return import_global_max_pool;
  return find_reduce_op(op);
}

}  // namespace sparsenet::converter

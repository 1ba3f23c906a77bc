// ONNX pooling and reduction.
#include "converter/onnx/node_context.h"
#include "converter/onnx/window.h"

namespace sparsenet::converter {
namespace {

Status import_pool(NodeContext& c) {
  const bool average = c.op() == "AveragePool";
  Window window;
  SPARSENET_RETURN_IF_ERROR(window.read(c, {}));
  if (window.dilation != std::array<int32_t, 2>{1, 1}) return unsupported("dilations other than 1");
  if (!average && c.output_is_used(1)) return unsupported("the indices of the maxima (output 1) are used");
  PoolAttrs attrs;
  attrs.ceil_mode = c.int_attribute("ceil_mode", 0) != 0;
  attrs.count_include_pad = average && c.int_attribute("count_include_pad", 0) != 0;
  Result<ValueId> x = c.value(0);
  if (!x.ok()) return x.status();
  SPARSENET_RETURN_IF_ERROR(window.resolve(c.writer().shape(*x)));
  attrs.kernel = window.kernel;
  attrs.stride = window.stride;
  attrs.pads = window.pads;
  return c.emit(average ? Op::kAveragePool : Op::kMaxPool, {*x}, attrs);
}

Status import_global_average_pool(NodeContext& c) {
  return c.emit_unary(Op::kGlobalAveragePool);
}

Status import_global_max_pool(NodeContext& c) {
  Result<ValueId> x = c.value(0);
  if (!x.ok()) return x.status();
  const Shape& shape = c.writer().shape(*x);
  constexpr int64_t kMax = 1 << 12;
  if (shape.size() != 4 || shape[2] > kMax || shape[3] > kMax)
    return unsupported("input: expected [N, C, H, W], found " + to_string(shape));
  PoolAttrs attrs;
  attrs.kernel = {static_cast<int32_t>(shape[2]), static_cast<int32_t>(shape[3])};
  return c.emit(Op::kMaxPool, {*x}, attrs);
}

Status import_reduce_mean(NodeContext& c) {
  std::vector<int64_t> axes = c.ints_attribute("axes");
  const bool keep = c.int_attribute("keepdims", 1) != 0;
  if (c.has_input(1)) {  // opset 18
    Result<std::vector<int64_t>> given = c.ints(1, "axes");
    if (!given.ok()) return given.status();
    axes = *given;
  }
  Result<ValueId> x = c.value(0);
  if (!x.ok()) return x.status();
  const Shape shape = c.writer().shape(*x);
  if (axes.empty()) {
    if (c.int_attribute("noop_with_empty_axes", 0) != 0) {
      c.alias_output(0, 0);
      return {};
    }
    return unsupported("no axes: the mean over the batch as well");
  }
  Result<std::vector<int32_t>> normal = normalize_axes(axes, shape.size());
  if (!normal.ok()) return normal.status();
  if ((*normal)[0] == 0) return unsupported("the mean over the batch");
  if (shape.size() == 4 && *normal == std::vector<int32_t>{2, 3}) {
    if (keep) return c.emit(Op::kGlobalAveragePool, {*x});
    Result<ValueId> pooled = c.writer().node(Op::kGlobalAveragePool, c.name(), {*x}, NoAttrs{}, c.name() + ".pooled");
    if (!pooled.ok()) return pooled.status();
    Result<ValueId> y = c.writer().reshape(c.name(), *pooled, {shape[0], shape[1]}, c.output_name(0));
    if (!y.ok()) return y.status();
    c.set_output(0, *y);
    return {};
  }
  return c.emit(Op::kReduceMean, {*x}, ReduceAttrs{*normal, keep});
}

}  // namespace

NodeImporter find_pool_op(const std::string& op) {
  if (op == "MaxPool" || op == "AveragePool") return import_pool;
  if (op == "GlobalAveragePool") return import_global_average_pool;
  if (op == "GlobalMaxPool") return import_global_max_pool;
  if (op == "ReduceMean") return import_reduce_mean;
  return nullptr;
}

}  // namespace sparsenet::converter

// ONNX reductions, and LogSoftmax, which is made of them.
#include <algorithm>
#include <limits>

#include "converter/onnx/compose.h"

namespace sparsenet::converter {
namespace {

// The axes, ascending; an attribute in older opsets and an input in newer ones. Without any, all of them, unless
// noop_with_empty_axes says none: then *noop is set.
Result<std::vector<int32_t>> reduced_axes(NodeContext& c, ValueId x, bool* noop) {
  std::vector<int64_t> axes = c.ints_attribute("axes");
  if (c.has_input(1)) {
    SPARSENET_ASSIGN_OR_RETURN(axes, c.ints(1, "axes"));
  }
  const Shape& shape = c.writer().shape(x);
  *noop = axes.empty() && c.int_attribute("noop_with_empty_axes", 0) != 0;
  if (axes.empty() && !*noop) {
    for (size_t d = 0; d < shape.size(); ++d) axes.push_back(static_cast<int64_t>(d));
  }
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int32_t> normal, normalize_axes(axes, shape.size()));
  if (std::find(normal.begin(), normal.end(), c.writer().batch_axis(x)) != normal.end()) {
    return c.mixes_batch("over the batch: expected axes without dimension " + std::to_string(c.writer().batch_axis(x)) +
                         " of " + to_string(shape));
  }
  return normal;
}

Status import_reduction(NodeContext& c) {
  const std::string& op = c.op();
  const bool keep = c.int_attribute("keepdims", 1) != 0;
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  bool noop = false;
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int32_t> axes, reduced_axes(c, x, &noop));
  if (noop || axes.empty()) {
    c.alias_output(0, 0);
    return {};
  }
  Compose g(c);
  Shape target;
  const Shape shape = g.shape(x);
  for (size_t d = 0; d < shape.size(); ++d) {
    if (!std::binary_search(axes.begin(), axes.end(), static_cast<int32_t>(d))) target.push_back(shape[d]);
  }
  if (target.empty()) target = {1};  // a scalar
  if (op == "ReduceMean" && (keep || axes.size() < shape.size()) &&
      !(shape.size() == 4 && axes == std::vector<int32_t>{2, 3})) {
    return c.emit(Op::kReduceMean, {x}, ReduceAttrs{axes, keep});
  }
  ValueId y = x;
  if (op == "ReduceMean") {
    y = g.mean(x, axes);
  } else if (op == "ReduceMax") {
    y = g.maximum(x, axes);
  } else if (op == "ReduceMin") {
    y = g.scaled(g.maximum(g.scaled(x, -1.f), axes), -1.f);
  } else if (op == "ReduceSum") {
    y = g.sum(x, axes);
  } else if (op == "ReduceL1") {
    y = g.sum(g.node(Op::kLeakyRelu, {x}, AlphaBetaAttrs{-1.f, 0.f}), axes);
  } else if (op == "ReduceLogSum") {
    y = g.node(Op::kLog, {g.sum(x, axes)});
  } else if (op == "ReduceLogSumExp") {  // what is subtracted first keeps Exp from overflowing
    const ValueId most = g.maximum(x, axes);
    y = g.node(Op::kAdd, {g.node(Op::kLog, {g.sum(g.node(Op::kExp, {g.node(Op::kSub, {x, most})}), axes)}), most});
  } else {  // ReduceSumSquare, ReduceL2
    y = g.sum(g.node(Op::kMul, {x, x}), axes);
    if (op == "ReduceL2") y = g.node(Op::kPow, {y}, AlphaBetaAttrs{0.5f, 0.f});
  }
  return g.finish(keep ? y : g.reshape(y, target));
}

// x - m - log(sum of exp(x - m)), m being the maximum. Up to opset 12 all dimensions from `axis` on count as one.
Status import_log_softmax(NodeContext& c) {
  const bool matrix_form = c.opset() < 13;
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  const size_t rank = c.writer().shape(x).size();
  SPARSENET_ASSIGN_OR_RETURN(const int32_t axis, normalize_axis(c.int_attribute("axis", matrix_form ? 1 : -1), rank));
  std::vector<int32_t> axes{axis};
  for (int32_t d = axis + 1; matrix_form && d < static_cast<int32_t>(rank); ++d) axes.push_back(d);
  if (std::find(axes.begin(), axes.end(), c.writer().batch_axis(x)) != axes.end()) {
    return c.mixes_batch("over the batch");
  }
  Compose g(c);
  const ValueId difference = g.node(Op::kSub, {x, g.maximum(x, axes)});
  const ValueId sum = g.sum(g.node(Op::kExp, {difference}), axes);
  return g.finish(g.node(Op::kSub, {difference, g.node(Op::kLog, {sum})}));
}

}  // namespace

NodeImporter find_reduce_op(const std::string& op) {
  if (op == "LogSoftmax") return import_log_softmax;
  for (const char* name : {"ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL1", "ReduceL2",
                           "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"}) {
    if (op == name) return import_reduction;
  }
  return find_extremum_op(op);
}

}  // namespace sparsenet::converter

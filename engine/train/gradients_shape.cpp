// Gradients of pooling, of reductions and of ops that move data. (Concatenation, splitting and slicing of channels do
// not come here: they are views, see Gradients.)
#include <algorithm>
#include <utility>

#include "train/gradients.h"

namespace sparsenet {

Status max_pool_gradient(Gradients& g, const Node& node) {
  if (!g.active(node.inputs[0])) return {};
  TrainAttrs a;
  a.pool = std::get<PoolAttrs>(node.attrs);
  g.contribute(node.inputs[0],
               g.add(TrainOp::kMaxPoolGrad, node.name + ".grad", {g.of(node.outputs[0]), node.inputs[0]}, std::move(a)),
               true);
  return {};
}

Status average_pool_gradient(Gradients& g, const Node& node) {
  if (!g.active(node.inputs[0])) return {};
  TrainAttrs a;
  a.pool = std::get<PoolAttrs>(node.attrs);
  a.shape = g.shape(node.inputs[0]);
  g.contribute(node.inputs[0],
               g.add(TrainOp::kAveragePoolGrad, node.name + ".grad", {g.of(node.outputs[0])}, std::move(a)), true);
  return {};
}

Status global_pool_gradient(Gradients& g, const Node& node) {
  const ValueId x = node.inputs[0];
  if (!g.active(x)) return {};
  TrainAttrs a;
  a.shape = g.shape(x);
  a.alpha = static_cast<float>(1.0 / static_cast<double>(a.shape[2] * a.shape[3]));
  const ValueId dy = g.of(node.outputs[0]);
  if (g.has(x)) {
    g.add_node(TrainOp::kExpandPixels, node.name + ".grad", {dy, g.accumulator(x)}, std::move(a), 0);
  } else {
    g.contribute(x, g.add(TrainOp::kExpandPixels, node.name + ".grad", {dy}, std::move(a)), true);
  }
  return {};
}

Status reduce_mean_gradient(Gradients& g, const Node& node) {
  const ValueId x = node.inputs[0];
  if (!g.active(x)) return {};
  const auto& axes = std::get<ReduceAttrs>(node.attrs).axes;
  TrainAttrs a;
  a.shape = g.shape(x);
  Shape kept = a.shape;
  int64_t count = 1;
  for (int32_t axis : axes) {
    count *= kept[static_cast<size_t>(axis)];
    kept[static_cast<size_t>(axis)] = 1;
  }
  a.alpha = static_cast<float>(1.0 / static_cast<double>(count));
  ValueId dy = g.of(node.outputs[0]);
  if (g.shape(dy) != kept) dy = g.add_view(Op::kReshape, node.name + ".grad", {dy}, ReshapeAttrs{kept});
  g.contribute(x, g.add(TrainOp::kExpand, node.name + ".grad", {dy}, std::move(a)), true);
  return {};
}

Status reshape_gradient(Gradients& g, const Node& node) {
  const ValueId x = node.inputs[0];
  if (!g.active(x)) return {};
  g.contribute(x,
               g.add_view(Op::kReshape, node.name + ".grad", {g.of(node.outputs[0])}, ReshapeAttrs{Shape(g.shape(x))}),
               false);
  return {};
}

Status transpose_gradient(Gradients& g, const Node& node) {
  const ValueId x = node.inputs[0];
  if (!g.active(x)) return {};
  const auto& perm = std::get<TransposeAttrs>(node.attrs).perm;
  TransposeAttrs inverse;
  inverse.perm.resize(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) inverse.perm[static_cast<size_t>(perm[i])] = static_cast<int32_t>(i);
  g.contribute(x, g.add_view(Op::kTranspose, node.name + ".grad", {g.of(node.outputs[0])}, std::move(inverse)), false);
  return {};
}

Status pad_gradient(Gradients& g, const Node& node) {
  const ValueId x = node.inputs[0];
  if (!g.active(x)) return {};
  const auto& a = std::get<PadAttrs>(node.attrs);
  SliceAttrs slice;
  for (size_t d = 0; d < a.before.size(); ++d) {
    if (a.before[d] == 0 && a.after[d] == 0) continue;
    slice.axes.push_back(static_cast<int32_t>(d));
    slice.starts.push_back(a.before[d]);
    slice.ends.push_back(a.before[d] + g.shape(x)[d]);
    slice.steps.push_back(1);
  }
  g.contribute(x, g.add_view(Op::kSlice, node.name + ".grad", {g.of(node.outputs[0])}, std::move(slice)), false);
  return {};
}

Status concat_gradient(Gradients& g, const Node& node) {
  const int32_t axis = std::get<AxisAttrs>(node.attrs).axis;
  const ValueId dy = g.of(node.outputs[0]);
  int64_t at = 0;
  for (ValueId x : node.inputs) {
    const int64_t size = g.shape(x)[static_cast<size_t>(axis)];
    if (g.active(x)) {
      SliceAttrs a;
      a.axes = {axis};
      a.starts = {at};
      a.ends = {at + size};
      a.steps = {1};
      g.contribute(x, g.add_view(Op::kSlice, node.name + ".grad", {dy}, std::move(a)), false);
    }
    at += size;
  }
  return {};
}

Status split_gradient(Gradients& g, const Node& node) {
  const ValueId x = node.inputs[0];
  if (!g.active(x)) return {};
  std::vector<ValueId> parts;
  for (ValueId y : node.outputs) {
    const ValueId dy = g.of(y);
    parts.push_back(dy != kNoValue ? dy : g.zeros(node.name + ".grad", g.shape(y)));
  }
  g.contribute(x, g.add_view(Op::kConcat, node.name + ".grad", parts, AxisAttrs{std::get<SplitAttrs>(node.attrs).axis}),
               false);
  return {};
}

Status slice_gradient(Gradients& g, const Node& node) {
  const ValueId x = node.inputs[0];
  if (!g.active(x)) return {};
  TrainAttrs a;
  a.slice = std::get<SliceAttrs>(node.attrs);
  a.shape = g.shape(x);
  g.contribute(x, g.add(TrainOp::kSliceGrad, node.name + ".grad", {g.of(node.outputs[0])}, std::move(a)), true);
  return {};
}

}  // namespace sparsenet

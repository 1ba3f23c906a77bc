// Gradients of activations and elementwise arithmetic.
#include <utility>

#include "graph/activations.h"
#include "train/gradients.h"

namespace sparsenet {
namespace {

// Contributes the gradient of a broadcast operand: the sum over what it was broadcast over, times `factor`.
void contribute_reduced(Gradients& g, const std::string& base, ValueId to, ValueId gradient, bool owned, float factor) {
  if (!g.active(to)) return;
  if (g.shape(to) == g.shape(gradient) && factor == 1.f) {
    g.contribute(to, gradient, owned);
    return;
  }
  TrainAttrs a;
  a.shape = g.shape(to);
  a.alpha = factor;
  const Op op = g.shape(to) == g.shape(gradient) ? TrainOp::kExpand : TrainOp::kReduceSum;
  g.contribute(to, g.add(op, base, {gradient}, std::move(a)), true);
}

}  // namespace

// The slope is computed from the result if possible, so that the argument need not be kept.
Status activation_gradient(Gradients& g, const Node& node) {
  if (!g.active(node.inputs[0])) return {};
  TrainAttrs a;
  const ActivationRow* row = find_activation(node.op);
  if (!row) return internal_error("node '" + node.name + "' is no activation");
  a.activation = activation_of(*row, node.attrs);
  const ValueId operand = row->slope_from_result ? node.outputs[0] : node.inputs[0];
  g.contribute(node.inputs[0],
               g.add(TrainOp::kActivationGrad, node.name + ".grad", {g.of(node.outputs[0]), operand}, std::move(a)),
               true);
  return {};
}

// dx = y (dy - sum of dy y)
Status softmax_gradient(Gradients& g, const Node& node) {
  if (!g.active(node.inputs[0])) return {};
  TrainAttrs a;
  a.axis = std::get<AxisAttrs>(node.attrs).axis;
  g.contribute(
      node.inputs[0],
      g.add(TrainOp::kSoftmaxGrad, node.name + ".grad", {g.of(node.outputs[0]), node.outputs[0]}, std::move(a)), true);
  return {};
}

Status binary_gradient(Gradients& g, const Node& node) {
  const ValueId a = node.inputs[0], b = node.inputs[1], y = node.outputs[0];
  const ValueId dy = g.of(y);
  const std::string base = node.name + ".grad";
  auto product = [&](Op op, ValueId u, ValueId v) { return g.add_view(op, base, {u, v}, NoAttrs{}); };
  switch (node.op) {
    case Op::kAdd:
      contribute_reduced(g, base, a, dy, false, 1.f);
      contribute_reduced(g, base, b, dy, false, 1.f);
      return {};
    case Op::kSub:
      contribute_reduced(g, base, a, dy, false, 1.f);
      contribute_reduced(g, base, b, dy, false, -1.f);
      return {};
    case Op::kMul:
      if (g.active(a)) contribute_reduced(g, base, a, product(Op::kMul, dy, b), true, 1.f);
      if (g.active(b)) contribute_reduced(g, base, b, product(Op::kMul, dy, a), true, 1.f);
      return {};
    default:  // y = a / b: da = dy / b, db = -dy y / b
      if (g.active(a)) contribute_reduced(g, base, a, product(Op::kDiv, dy, b), true, 1.f);
      if (g.active(b)) {
        contribute_reduced(g, base, b, product(Op::kDiv, product(Op::kMul, dy, y), b), true, -1.f);
      }
      return {};
  }
}

// y[n, p, c] = x[n, p, c] f[n, c]
Status scale_pixels_gradient(Gradients& g, const Node& node) {
  const ValueId x = node.inputs[0], f = node.inputs[1], dy = g.of(node.outputs[0]);
  if (g.active(f)) g.contribute(f, g.add(TrainOp::kDotPixels, node.name + ".grad", {dy, x}), true);
  if (g.active(x)) g.contribute(x, g.add(TrainOp::kScalePixels, node.name + ".grad", {dy, f}), true);
  return {};
}

}  // namespace sparsenet

// Gradients of activations, elementwise arithmetic and matrix products.
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

// Straight through the rounding: dx = dy where x is within the bounds, else 0.
Status fake_quantize_gradient(Gradients& g, const Node& node) {
  const ValueId x = node.inputs[0], dy = g.of(node.outputs[0]);
  if (!g.active(x)) return {};
  TrainAttrs a;
  a.activation = train_attrs(node).activation;
  if (a.activation.kind == Activation::Kind::kNone) {
    g.contribute(x, dy, false);
  } else {
    g.contribute(x, g.add(TrainOp::kActivationGrad, node.name + ".grad", {dy, x}, std::move(a)), true);
  }
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

// Exp: dx = dy y. Log: dx = dy / x. Pow: dx = dy alpha x^(alpha - 1).
Status function_gradient(Gradients& g, const Node& node) {
  const ValueId x = node.inputs[0], y = node.outputs[0], dy = g.of(y);
  if (!g.active(x)) return {};
  const std::string base = node.name + ".grad";
  if (node.op != Op::kPow) {
    const bool exp = node.op == Op::kExp;
    g.contribute(x, g.add_view(exp ? Op::kMul : Op::kDiv, base, {dy, exp ? y : x}, NoAttrs{}), true);
    return {};
  }
  TrainAttrs a;
  a.shape = g.shape(x);
  a.alpha = std::get<AlphaBetaAttrs>(node.attrs).alpha;
  const ValueId power = g.add_view(Op::kPow, base, {x}, AlphaBetaAttrs{a.alpha - 1.f, 0.f});
  const ValueId product = g.add_view(Op::kMul, base, {dy, power}, NoAttrs{});
  g.contribute(x, g.add(TrainOp::kExpand, base, {product}, std::move(a)), true);
  return {};
}

// Where one operand is chosen, it gets the gradient: `taken` is that part of dy. Max: a where a - b > 0, else b; Min
// the other way round. Prelu: dy where a > 0 and dy b elsewhere, db = dy min(a, 0).
Status choice_gradient(Gradients& g, const Node& node) {
  const ValueId a = node.inputs[0], b = node.inputs[1], dy = g.of(node.outputs[0]);
  const std::string base = node.name + ".grad";
  const bool prelu = node.op == Op::kPrelu;
  const auto binary = [&](Op op, ValueId u, ValueId v) { return g.add_view(op, base, {u, v}, NoAttrs{}); };
  TrainAttrs relu;
  relu.activation.kind = Activation::Kind::kRelu;
  ValueId sign = prelu ? a : binary(Op::kSub, a, b);
  if (g.shape(sign) != g.shape(dy)) {  // Prelu's slope is larger than its argument
    TrainAttrs whole;
    whole.shape = g.shape(dy);
    sign = g.add(TrainOp::kExpand, base, {sign}, std::move(whole));
  }
  const ValueId taken = g.add(TrainOp::kActivationGrad, base, {dy, sign}, std::move(relu));
  const ValueId other = binary(Op::kSub, dy, taken);
  if (!prelu) {
    contribute_reduced(g, base, a, node.op == Op::kMax ? taken : other, false, 1.f);
    contribute_reduced(g, base, b, node.op == Op::kMax ? other : taken, false, 1.f);
    return {};
  }
  if (g.active(a)) contribute_reduced(g, base, a, binary(Op::kAdd, taken, binary(Op::kMul, other, b)), true, 1.f);
  if (g.active(b)) contribute_reduced(g, base, b, binary(Op::kMul, other, a), true, 1.f);
  return {};
}

// y = a b: da = dy b', db = a' dy, summed over the dimensions in front that were broadcast.
Status mat_mul_gradient(Gradients& g, const Node& node) {
  const ValueId a = node.inputs[0], b = node.inputs[1], dy = g.of(node.outputs[0]);
  const std::string base = node.name + ".grad";
  const auto transposed = [&](ValueId x) {
    TransposeAttrs attrs;
    for (size_t d = 0; d < g.shape(x).size(); ++d) attrs.perm.push_back(static_cast<int32_t>(d));
    std::swap(attrs.perm[attrs.perm.size() - 1], attrs.perm[attrs.perm.size() - 2]);
    return g.add_view(Op::kTranspose, base, {x}, std::move(attrs));
  };
  const auto product = [&](ValueId u, ValueId v) { return g.add_view(Op::kMatMul, base, {u, v}, NoAttrs{}); };
  if (g.active(a)) contribute_reduced(g, base, a, product(dy, transposed(b)), true, 1.f);
  if (g.active(b)) contribute_reduced(g, base, b, product(transposed(a), dy), true, 1.f);
  return {};
}

// y[n, p, c] = x[n, p, c] f[n, c]
Status scale_pixels_gradient(Gradients& g, const Node& node) {
  const ValueId x = node.inputs[0], f = node.inputs[1], dy = g.of(node.outputs[0]);
  if (g.active(f)) g.contribute(f, g.add(TrainOp::kDotPixels, node.name + ".grad", {dy, x}), true);
  if (g.active(x)) g.contribute(x, g.add(TrainOp::kScalePixels, node.name + ".grad", {dy, f}), true);
  return {};
}

}  // namespace sparsenet

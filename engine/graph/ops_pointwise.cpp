// Shape rules of elementwise ops and Softmax.
#include <algorithm>
#include <cmath>

#include "graph/ops.h"

namespace sparsenet {

Status check_activation(const Activation& a) {
  if (a.kind > Activation::Kind::kTanh) {
    return ShapeContext::mismatch("activation", "a kind of 0 to 7", std::to_string(static_cast<int>(a.kind)));
  }
  const bool bounds = a.kind == Activation::Kind::kClip;  // infinite bounds are meaningful, NaN is not
  if (bounds ? !(a.a <= a.b) : (!std::isfinite(a.a) || !std::isfinite(a.b))) {
    return ShapeContext::mismatch("activation", bounds ? "low <= high" : "finite parameters",
                                  std::to_string(a.a) + " and " + std::to_string(a.b));
  }
  return {};
}

Status infer_unary(ShapeContext& c) {
  c.outputs[0] = c.input(0);
  return {};
}

Status infer_leaky_relu(ShapeContext& c) {
  const auto& a = std::get<AlphaBetaAttrs>(c.node.attrs);
  if (!std::isfinite(a.alpha) || !std::isfinite(a.beta)) return invalid_model("alpha and beta must be finite");
  return infer_unary(c);
}

Status infer_clip(ShapeContext& c) {
  const auto& a = std::get<ClipAttrs>(c.node.attrs);
  if (!(a.low <= a.high)) {
    return c.mismatch("bounds", "low <= high", std::to_string(a.low) + " and " + std::to_string(a.high));
  }
  return infer_unary(c);
}

Status infer_softmax(ShapeContext& c) {
  const int32_t axis = std::get<AxisAttrs>(c.node.attrs).axis;
  if (axis < 0 || static_cast<size_t>(axis) >= c.input(0).size()) {
    return c.mismatch("axis", "one of " + to_string(c.input(0)), std::to_string(axis));
  }
  return infer_unary(c);
}

Status infer_binary(ShapeContext& c) {
  const Shape& a = c.input(0);
  const Shape& b = c.input(1);
  const size_t rank = std::max(a.size(), b.size());
  Shape out(rank);
  for (size_t i = 0; i < rank; ++i) {
    const int64_t x = i + a.size() < rank ? 1 : a[i + a.size() - rank];
    const int64_t y = i + b.size() < rank ? 1 : b[i + b.size() - rank];
    if (x != y && x != 1 && y != 1)
      return c.mismatch("inputs", "shapes that broadcast", to_string(a) + " and " + to_string(b));
    out[i] = x == 1 ? y : x;
  }
  c.outputs[0] = std::move(out);
  return {};
}

}  // namespace sparsenet

// Shape rules of elementwise ops and Softmax. (Those of activations are in activations.cpp.)
#include <algorithm>

#include "graph/ops.h"

namespace sparsenet {

Status infer_unary(ShapeContext& c) {
  c.outputs[0] = c.input(0);
  return {};
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

// Shape rules of elementwise ops, matrix products, Softmax and LayerNorm. (Those of activations are in
// activations.cpp.)
#include <algorithm>
#include <cmath>

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

namespace {

// The shape of two operands that broadcast. False if they do not.
bool broadcast(const Shape& a, const Shape& b, Shape* out) {
  const size_t rank = std::max(a.size(), b.size());
  out->assign(rank, 1);
  for (size_t i = 0; i < rank; ++i) {
    const int64_t x = i + a.size() < rank ? 1 : a[i + a.size() - rank];
    const int64_t y = i + b.size() < rank ? 1 : b[i + b.size() - rank];
    if (x != y && x != 1 && y != 1) return false;
    (*out)[i] = x == 1 ? y : x;
  }
  return true;
}

}  // namespace

Status infer_binary(ShapeContext& c) {
  if (broadcast(c.input(0), c.input(1), &c.outputs[0])) return {};
  return c.mismatch("inputs", "shapes that broadcast", to_string(c.input(0)) + " and " + to_string(c.input(1)));
}

Status infer_mat_mul(ShapeContext& c) {
  const Shape &a = c.input(0), &b = c.input(1);
  constexpr size_t kMostDimensions = 7;  // the sum is one more
  const std::string found = to_string(a) + " and " + to_string(b);
  if (a.size() < 2 || b.size() < 2 || std::max(a.size(), b.size()) > kMostDimensions) {
    return c.mismatch("inputs", "matrices of rank 2 to 7", found);
  }
  if (a.back() != b[b.size() - 2]) return c.mismatch("inputs", "as many columns as rows", found);
  Shape out;
  if (!broadcast(Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2), &out)) {
    return c.mismatch("inputs", "dimensions in front that broadcast", found);
  }
  out.push_back(a[a.size() - 2]);
  out.push_back(b.back());
  c.outputs[0] = std::move(out);
  return {};
}

Status infer_layer_norm(ShapeContext& c) {
  const Shape& x = c.input(0);
  if (x.size() < 2 || x.size() > 4) return c.mismatch("input", "rank 2 to 4", to_string(x));
  const Shape channels{x.size() == 3 ? x[2] : x[1]};
  for (size_t i = 1; i < c.input_count(); ++i) {
    if (c.has_input(i) && c.input(i) != channels) {
      return c.mismatch(i == 1 ? "scale" : "shift", to_string(channels), to_string(c.input(i)));
    }
  }
  const float epsilon = std::get<BatchNormAttrs>(c.node.attrs).epsilon;
  if (!(epsilon >= 0.f) || !std::isfinite(epsilon)) return c.mismatch("epsilon", "0 or more", std::to_string(epsilon));
  return infer_unary(c);
}

}  // namespace sparsenet

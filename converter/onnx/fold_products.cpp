// Constant folding: products of constant matrices, computed in double precision.
#include <Eigen/Core>

#include "converter/onnx/fold.h"

namespace sparsenet::converter {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

}  // namespace

// Products of matrices, stacks of which broadcast. A vector is a matrix of one row on the left, of one column on the
// right.
Status fold_matmul(NodeContext& c) {
  const HostTensor& a = *c.input(0)->constant;
  const HostTensor& b = *c.input(1)->constant;
  if (!a.is_float() || !b.is_float()) return unsupported("a product of integer constants");
  Shape left = a.shape, right = b.shape;
  if (left.empty() || right.empty()) return invalid_model("operands: expected matrices, found a number");
  const bool row = left.size() == 1, column = right.size() == 1;
  if (row) left.insert(left.begin(), 1);
  if (column) right.push_back(1);
  const int64_t rows = left[left.size() - 2], inner = left.back(), columns = right.back();
  if (right[right.size() - 2] != inner) {
    return invalid_model("operands " + to_string(a.shape) + " and " + to_string(b.shape) + " do not fit");
  }
  const Shape left_stack(left.begin(), left.end() - 2), right_stack(right.begin(), right.end() - 2);
  SPARSENET_ASSIGN_OR_RETURN(const Shape stack, broadcast_shape(left_stack, right_stack));
  Shape shape = stack;
  if (!row) shape.push_back(rows);
  if (!column) shape.push_back(columns);
  SPARSENET_RETURN_IF_ERROR(check_folded(shape));
  const int64_t results = element_count(shape);
  uint64_t products = 0;
  const bool fits = multiply(static_cast<uint64_t>(results), static_cast<uint64_t>(inner), &products);
  SPARSENET_RETURN_IF_ERROR(charge_folding(c, fits ? products : UINT64_MAX));
  HostTensor out = folded_floats(shape, {});
  out.floats.resize(static_cast<size_t>(results));
  float* to = results > 0 ? out.floats.data() : nullptr;
  Walk at_a(stack, broadcast_steps(left_stack, stack)), at_b(stack, broadcast_steps(right_stack, stack));
  for (int64_t s = 0; to && s < element_count(stack); ++s, at_a.next(), at_b.next()) {
    const float* x = a.floats.data() + static_cast<int64_t>(at_a.at()) * rows * inner;
    const float* y = b.floats.data() + static_cast<int64_t>(at_b.at()) * inner * columns;
    const Eigen::Map<const Matrix> left_matrix(x, rows, inner), right_matrix(y, inner, columns);
    Eigen::Map<Matrix>(to, rows, columns) = (left_matrix.cast<double>() * right_matrix.cast<double>()).cast<float>();
    to += rows * columns;
  }
  out.source = a.size() >= b.size() ? a.source : b.source;
  out.change = "folded with MatMul";
  c.set_output(0, std::move(out));
  return {};
}

}  // namespace sparsenet::converter

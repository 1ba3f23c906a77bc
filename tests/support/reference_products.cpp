// What a matrix product is, by Eigen.
#include <Eigen/Core>
#include <algorithm>

#include "support/reference.h"

namespace sparsenet::test::reference {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::Map<const Matrix> matrix(const double* elements, size_t rows, size_t columns) {
  return {elements, static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns)};
}

}  // namespace

void fully_connected(const FullyConnectedAttrs& a, const Operands& in, Array& out) {
  const Array &x = *in[0], &w = *in[1];
  const Array* bias = in.size() > 2 ? in[2] : nullptr;
  const size_t outputs = w.dim(0), inputs = w.dim(1);
  const Matrix product = matrix(x.data.data(), x.dim(0), inputs) * matrix(w.data.data(), outputs, inputs).transpose();
  for (size_t i = 0; i < out.size(); ++i) {
    out.data[i] = activate(a.activation, product.data()[i] + (bias ? bias->data[i % outputs] : 0.0));
  }
}

void mat_mul(const Operands& in, Array& out) {
  const Array &a = *in[0], &b = *in[1];
  const size_t rank = out.shape.size(), rows = out.dim(rank - 2), columns = out.dim(rank - 1);
  const size_t terms = a.dim(a.shape.size() - 1);
  for (size_t product = 0; product * rows * columns < out.size(); ++product) {
    // Which matrix of an operand it is: the index along every dimension in front, 0 where the operand has size 1.
    const auto matrix_of = [&](const Array& x) {
      size_t matrix = 0, rest = product, step = 1;
      for (size_t d = rank - 2; d-- > 0;) {
        const size_t i = rest % out.dim(d), missing = rank - x.shape.size();
        rest /= out.dim(d);
        if (d < missing) continue;
        const size_t size = x.dim(d - missing);
        matrix += size == 1 ? 0 : i * step;
        step *= size;
      }
      return matrix;
    };
    const double* left = &a.data[matrix_of(a) * rows * terms];
    const double* right = &b.data[matrix_of(b) * terms * columns];
    const Matrix result = matrix(left, rows, terms) * matrix(right, terms, columns);
    std::copy_n(result.data(), result.size(), &out.data[product * rows * columns]);
  }
}

}  // namespace sparsenet::test::reference

// Elementwise ops, reductions and data movement in the double-precision reference.
//
// All of them work on coordinates: out[c] is computed from in[f(c)], one element at a time.
#include <cmath>

#include "graph/activations.h"
#include "support/reference.h"

namespace sparsenet::test::reference {
namespace {

using Coordinates = std::vector<size_t>;

// Visits every coordinate of `shape` in row-major order, with its flat index.
template <class Visit>
void for_each(const Shape& shape, Visit visit) {
  Coordinates at(shape.size(), 0);
  const auto count = static_cast<size_t>(element_count(shape));
  for (size_t flat = 0; flat < count; ++flat) {
    visit(at, flat);
    for (size_t d = shape.size(); d-- > 0;) {
      if (++at[d] < static_cast<size_t>(shape[d])) break;
      at[d] = 0;
    }
  }
}

size_t flat_index(const Shape& shape, const Coordinates& at) {
  size_t flat = 0;
  for (size_t d = 0; d < shape.size(); ++d) flat = flat * static_cast<size_t>(shape[d]) + at[d];
  return flat;
}

// The element of an operand `x` that NumPy's rules assign to coordinate `at` of the broadcast result.
double broadcast_element(const Array& x, const Coordinates& at) {
  const size_t skip = at.size() - x.shape.size();
  size_t flat = 0;
  for (size_t d = 0; d < x.shape.size(); ++d) {
    flat = flat * x.dim(d) + (x.shape[d] == 1 ? 0 : at[d + skip]);
  }
  return x.data[flat];
}

}  // namespace

void unary(const Node& node, const Operands& in, Array& out) {
  Activation activation;
  is_activation(node, &activation);
  for (size_t i = 0; i < out.size(); ++i) out.data[i] = activate(activation, in[0]->data[i]);
}

void function(const Node& node, const Operands& in, Array& out) {
  for (size_t i = 0; i < out.size(); ++i) {
    const double x = in[0]->data[i];
    out.data[i] = node.op == Op::kExp   ? std::exp(x)
                  : node.op == Op::kLog ? std::log(x)
                                        : std::pow(x, static_cast<double>(std::get<AlphaBetaAttrs>(node.attrs).alpha));
  }
}

void binary(Op op, const Operands& in, Array& out) {
  for_each(out.shape, [&](const Coordinates& at, size_t flat) {
    const double a = broadcast_element(*in[0], at), b = broadcast_element(*in[1], at);
    double& y = out.data[flat];
    switch (op) {
      case Op::kAdd:
        y = a + b;
        break;
      case Op::kSub:
        y = a - b;
        break;
      case Op::kMul:
        y = a * b;
        break;
      case Op::kDiv:
        y = a / b;
        break;
      case Op::kMax:
        y = std::max(a, b);
        break;
      case Op::kMin:
        y = std::min(a, b);
        break;
      case Op::kPrelu:
        y = a < 0 ? a * b : a;
        break;
      default:
        y = std::nan("");
    }
  });
}

void concat(const AxisAttrs& a, const Operands& in, Array& out) {
  const auto axis = static_cast<size_t>(a.axis);
  size_t base = 0;
  for (const Array* part : in) {
    for_each(part->shape, [&](Coordinates at, size_t flat) {
      at[axis] += base;
      out.data[flat_index(out.shape, at)] = part->data[flat];
    });
    base += part->dim(axis);
  }
}

void split(const SplitAttrs& a, const Operands& in, Arrays& out) {
  const auto axis = static_cast<size_t>(a.axis);
  size_t base = 0;
  for (Array& part : out) {
    for_each(part.shape, [&](Coordinates at, size_t flat) {
      at[axis] += base;
      part.data[flat] = in[0]->data[flat_index(in[0]->shape, at)];
    });
    base += part.dim(axis);
  }
}

void slice(const SliceAttrs& a, const Operands& in, Array& out) {
  for_each(out.shape, [&](Coordinates at, size_t flat) {
    for (size_t i = 0; i < a.axes.size(); ++i) {
      size_t& c = at[static_cast<size_t>(a.axes[i])];
      c = static_cast<size_t>(a.starts[i]) + c * static_cast<size_t>(a.steps[i]);
    }
    out.data[flat] = in[0]->data[flat_index(in[0]->shape, at)];
  });
}

void pad(const PadAttrs& a, const Operands& in, Array& out) {
  for (double& v : out.data) v = static_cast<double>(a.value);
  for_each(in[0]->shape, [&](Coordinates at, size_t flat) {
    for (size_t d = 0; d < at.size(); ++d) at[d] += static_cast<size_t>(a.before[d]);
    out.data[flat_index(out.shape, at)] = in[0]->data[flat];
  });
}

void transpose(const TransposeAttrs& a, const Operands& in, Array& out) {
  for_each(out.shape, [&](const Coordinates& at, size_t flat) {
    Coordinates source(at.size());
    for (size_t d = 0; d < at.size(); ++d) source[static_cast<size_t>(a.perm[d])] = at[d];
    out.data[flat] = in[0]->data[flat_index(in[0]->shape, source)];
  });
}

void reduce_mean(const std::vector<int32_t>& axes, const Operands& in, Array& out) {
  const Array& x = *in[0];
  Shape kept = x.shape;  // the output's shape, before keep_dims may drop the dimensions of 1
  for (int32_t axis : axes) kept[static_cast<size_t>(axis)] = 1;
  for_each(x.shape, [&](Coordinates at, size_t flat) {
    for (int32_t axis : axes) at[static_cast<size_t>(axis)] = 0;
    out.data[flat_index(kept, at)] += x.data[flat];
  });
  const double count = static_cast<double>(x.size()) / static_cast<double>(out.size());
  for (double& v : out.data) v /= count;
}

}  // namespace sparsenet::test::reference

// Nodes of integers whose result depends on one integer alone: activations, and sums, differences and products with a
// constant number. They become tables of 256 results. With Rounding::kDouble those are what TensorFlow Lite Micro's
// reference kernels compute, in fixed point; with Rounding::kSingle the real function is rounded.
#include <algorithm>
#include <cmath>

#include "graph/ops.h"
#include "plan/lower.h"
#include "plan/multiplier.h"
#include "runtime/fixed_point.h"

namespace sparsenet {
namespace {

using Table = std::array<int8_t, 256>;

float scale_of(const Value& value) {
  return value.quantization.scales[0];
}

int8_t to_byte(double x) {
  return std::isnan(x) ? int8_t{0} : static_cast<int8_t>(std::clamp(x, -128., 127.));
}

// Fills the table with f(integer less the input's zero point).
template <class F>
void fill(Table* table, int32_t zero, F f) {
  for (int32_t x = -128; x < 128; ++x) (*table)[static_cast<size_t>(x + 128)] = f(x - zero);
}

double function_of(const Node& node, double x) {
  const auto bounded = [](double v) { return std::clamp(v, 0., 1.); };
  const auto alpha = [&] { return static_cast<double>(std::get<AlphaBetaAttrs>(node.attrs).alpha); };
  switch (node.op) {
    case Op::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Op::kHardSigmoid:
      return bounded(alpha() * x + static_cast<double>(std::get<AlphaBetaAttrs>(node.attrs).beta));
    case Op::kHardSwish:
      return x * bounded(x / 6 + 0.5);
    case Op::kTanh:
      return std::tanh(x);
    case Op::kLeakyRelu:
      return x < 0 ? alpha() * x : x;
    case Op::kElu:
      return x < 0 ? alpha() * std::expm1(x) : x;
    default:  // Silu
      return x / (1 + std::exp(-alpha() * x));
  }
}

void real_table(const Node& node, const Value& in, const Value& out, const rt::QuantParams& quant, Table* table) {
  fill(table, quant.in_zero, [&](int32_t x) {
    const double y = function_of(node, static_cast<double>(scale_of(in)) * x) / static_cast<double>(scale_of(out));
    return to_byte(quant.out_zero + std::round(y));
  });
}

Status expect_factor(const Node& node, double factor, rt::Multiplier* multiplier) {
  if (std::isfinite(factor) && make_multiplier(factor, multiplier)) return {};
  return unsupported(describe(node) + ": scales: expected factors below 2^30 between them, found " +
                     std::to_string(factor));
}

// Sigmoid and Tanh. The input becomes a number with 4 integer bits; where these do not hold it, the result is at its
// end. The result has 8 bits behind the point, or 7 and a sign.
Status saturating_table(const Node& node, const Value& in, const Value& out, const rt::QuantParams& quant,
                        Table* table) {
  constexpr int kIntegerBits = 4;
  const bool tanh = node.op == Op::kTanh;
  const float scale = tanh ? 1.f / 128 : 1.f / 256;
  const int32_t zero = tanh ? 0 : -128;
  if (scale_of(out) != scale || quant.out_zero != zero) {
    return unsupported(describe(node) + ": output: expected scale " + (tanh ? "1/128" : "1/256") + " and zero point " +
                       std::to_string(zero) + ", found " + std::to_string(scale_of(out)) + " and " +
                       std::to_string(quant.out_zero));
  }
  rt::Multiplier m;
  SPARSENET_RETURN_IF_ERROR(expect_factor(node, std::ldexp(static_cast<double>(scale_of(in)), 31 - kIntegerBits), &m));
  if (m.shift < 0) return unsupported(describe(node) + ": input: expected a scale of at least 2^-28");
  const double most = std::floor(std::ldexp((1 << kIntegerBits) - 1, 31 - kIntegerBits - m.shift));
  fill(table, quant.in_zero, [&](int32_t x) {
    if (x <= -most) return int8_t{-128};
    if (x >= most) return int8_t{127};
    const int32_t real = rt::multiplied(x, m, rt::Rounding::kDouble);
    const int32_t y =
        tanh ? rt::rounded_quotient(rt::tanh_of(real), 24) : rt::rounded_quotient(rt::logistic_of(real), 23) + zero;
    return to_byte(y);
  });
  return {};
}

// --- HardSwish, in 16 bits

int32_t saturated16(int64_t x) {
  return static_cast<int32_t>(std::clamp<int64_t>(x, INT16_MIN, INT16_MAX));
}

int32_t high_product16(int32_t a, int32_t b) {  // halves up
  return saturated16((a * b + (1 << 14)) >> 15);
}

// The 16 high bits of a multiplier.
int32_t short_value(const rt::Multiplier& m) {
  return m.value >= INT32_MAX - (1 << 15) ? INT16_MAX : (m.value + (1 << 15)) >> 16;
}

// x * relu6(x + 3) / 6. The second factor is computed as a number between -1 and 1 and then moved to 0 ... 1.
Status hard_swish_table(const Node& node, const Value& in, const Value& out, const rt::QuantParams& quant,
                        Table* table) {
  const float fine = scale_of(in) / 128;  // of an input with 7 more bits
  rt::Multiplier to_out, to_gate;
  SPARSENET_RETURN_IF_ERROR(expect_factor(node, static_cast<double>(fine / scale_of(out)), &to_out));
  SPARSENET_RETURN_IF_ERROR(expect_factor(node, static_cast<double>(fine / (3.f / 32768)), &to_gate));
  if (to_out.shift > 0) {
    return unsupported(describe(node) + ": output: expected a scale of at least 1/128 of the input's, found " +
                       std::to_string(scale_of(out)) + " and " + std::to_string(scale_of(in)));
  }
  fill(table, quant.in_zero, [&](int32_t x) {
    const int32_t wide = x * 128;
    const int32_t result = high_product16(wide, short_value(to_out));
    int32_t gate = wide;
    // Bits are kept as long as possible: the last one is shifted out behind the product.
    if (to_gate.shift > 0) gate = saturated16(int64_t{gate} * (int64_t{1} << (to_gate.shift - 1)));
    gate = high_product16(gate, short_value(to_gate));
    if (to_gate.shift > 0) gate = saturated16(int64_t{gate} * 2);
    if (to_gate.shift < 0) gate = rt::rounded_quotient(gate, -to_gate.shift);
    gate = (gate + (1 << 15)) >> 1;
    const int32_t product = saturated16(int64_t{gate} * result / (1 << 15));  // towards zero
    return to_byte(rt::rounded_quotient(product, -to_out.shift) + quant.out_zero);
  });
  return {};
}

Status leaky_table(const Node& node, const Value& in, const Value& out, const rt::QuantParams& quant, Table* table) {
  const float alpha = std::get<AlphaBetaAttrs>(node.attrs).alpha;
  rt::Multiplier positive, negative;
  SPARSENET_RETURN_IF_ERROR(expect_factor(node, static_cast<double>(scale_of(in) / scale_of(out)), &positive));
  const float factor = scale_of(in) * alpha / scale_of(out);
  SPARSENET_RETURN_IF_ERROR(expect_factor(node, static_cast<double>(std::abs(factor)), &negative));
  if (factor < 0) negative.value = -negative.value;
  fill(table, quant.in_zero, [&](int32_t x) {
    const int32_t y = rt::multiplied(x, x >= 0 ? positive : negative, rt::Rounding::kDouble);
    return to_byte(static_cast<double>(y) + quant.out_zero);
  });
  return {};
}

// In float32, as TensorFlow Lite fills its own tables.
void elu_table(const Node& node, const Value& in, const Value& out, const rt::QuantParams& quant, Table* table) {
  const float alpha = std::get<AlphaBetaAttrs>(node.attrs).alpha, inverse = 1.f / scale_of(out);
  fill(table, quant.in_zero, [&](int32_t x) {
    const float real = scale_of(in) * static_cast<float>(x);
    const float y = real < 0.f ? alpha * (std::exp(real) - 1.f) : real;
    return to_byte(static_cast<double>(std::round(y * inverse)) + quant.out_zero);
  });
}

rt::BinaryOp binary_op(Op op) {
  return op == Op::kAdd ? rt::BinaryOp::kAdd : op == Op::kSub ? rt::BinaryOp::kSub : rt::BinaryOp::kMul;
}

}  // namespace

// The operand of a sum, difference or product that is a constant number, or -1.
int Lowering::constant_number(const Node& node) const {
  if (node.op != Op::kAdd && node.op != Op::kSub && node.op != Op::kMul) return -1;
  for (int i = 0; i < 2; ++i) {
    const ValueId id = node.inputs[static_cast<size_t>(i)], other = node.inputs[static_cast<size_t>(1 - i)];
    const Value& value = graph_.value(id);
    // With more dimensions than the other operand it would be a reshape, too.
    if (value.is_constant && element_count(value.shape) == 1 && shape(other) == shape(node.outputs[0])) return i;
  }
  return -1;
}

Status Lowering::lower_table(const Node& node) {
  const int constant = constant_number(node);
  const ValueId source = node.inputs[constant == 0 ? 1 : 0];
  const Value &in = graph_.value(source), &out = graph_.value(node.outputs[0]);
  plan_.tables.emplace_back();
  Table* table = &plan_.tables.back();
  const bool fixed = quant_->rounding == rt::Rounding::kDouble;
  if (constant >= 0) {
    const Value& number = graph_.value(node.inputs[static_cast<size_t>(constant)]);
    const int32_t c = static_cast<const int8_t*>(number.constant.data)[0] - number.quantization.zero_points[0];
    fill(table, in.quantization.zero_points[0], [&](int32_t x) {
      return rt::combined(binary_op(node.op), constant == 0 ? c : x, constant == 0 ? x : c, *quant_);
    });
  } else if (fixed && (node.op == Op::kSigmoid || node.op == Op::kTanh)) {
    SPARSENET_RETURN_IF_ERROR(saturating_table(node, in, out, *quant_, table));
  } else if (fixed && node.op == Op::kHardSwish) {
    SPARSENET_RETURN_IF_ERROR(hard_swish_table(node, in, out, *quant_, table));
  } else if (fixed && node.op == Op::kLeakyRelu) {
    SPARSENET_RETURN_IF_ERROR(leaky_table(node, in, out, *quant_, table));
  } else if (fixed && node.op == Op::kElu) {
    elu_table(node, in, out, *quant_, table);
  } else {
    real_table(node, in, out, *quant_, table);
  }
  *quant_ = {};  // the table has all of it
  quant_->rounding = fixed ? rt::Rounding::kDouble : rt::Rounding::kSingle;
  quant_->in_zero = in.quantization.zero_points[0];
  quant_->out_zero = out.quantization.zero_points[0];
  quant_->low = -128;
  quant_->high = 127;
  quant_->table = table->data();
  SPARSENET_ASSIGN_OR_RETURN(Lowered from, dense(source, node));
  Draft draft = start(node, rt::StepOp::kUnary);
  draft.in = std::move(from);
  draft.out = new_value(node.outputs[0]);
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

}  // namespace sparsenet

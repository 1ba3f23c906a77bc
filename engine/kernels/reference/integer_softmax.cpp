// Softmax of integers, in fixed point alone, with the results of TensorFlow Lite's reference kernel. Its method: the
// differences from the largest element are numbers with 5 integer bits; their exponentials are products of tabulated
// factors, exp(-1/4), exp(-1/2), ..., and a polynomial for what is left of -1/4; the sum has 12 integer bits, and its
// reciprocal comes from three steps of Newton and Raphson.
//
// A fixed-point number is named by its integer bits here: q0 has none, so that 2^31 stands for 1.
#include "kernels/reference/common.h"
#include "kernels/reference/integers.h"
#include "kernels/reference/walk.h"
#include "runtime/requantize.h"

namespace sparsenet::rt {
namespace {

// x * 2^exponent, saturating.
int32_t saturated_left(int32_t x, int32_t exponent) {
  const int64_t wide = int64_t{x} * (int64_t{1} << exponent);
  return wide > INT32_MAX ? INT32_MAX : wide < INT32_MIN ? INT32_MIN : static_cast<int32_t>(wide);
}

// exp(x) for x in [-1/4, 0), both q0: a polynomial around -1/8.
int32_t exp_of_small(int32_t x) {
  constexpr int32_t kExpOfEighth = 1895147668, kThird = 715827883;  // exp(-1/8) and 1/3, q0
  const int32_t d = x + (1 << 28);                                  // from -1/8
  const int32_t d2 = high_product(d, d), d3 = high_product(d2, d), d4 = high_product(d2, d2);
  // d^2/2 + d^3/6 + d^4/24
  const int32_t rest = rounded_quotient(high_product(rounded_quotient(d4, 2) + d3, kThird) + d2, 1);
  return kExpOfEighth + high_product(kExpOfEighth, d + rest);
}

// exp(x), q0, for x <= 0 with 5 integer bits.
int32_t exp_of_negative(int32_t x) {
  constexpr int32_t kQuarter = 1 << 24;
  const int32_t small = (x & (kQuarter - 1)) - kQuarter;
  int32_t result = exp_of_small(saturated_left(small, 5));
  const int32_t rest = small - x;  // a multiple of 1/4
  // exp(-2^k) for k = -2 ... 4, q0
  constexpr int32_t kFactors[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
  for (int k = 0; k < 7; ++k) {
    if (rest & (kQuarter << k)) result = high_product(result, kFactors[k]);
  }
  return x == 0 ? INT32_MAX : result;
}

int32_t leading_zeros(uint32_t x) {
  int32_t zeros = 0;
  while (zeros < 32 && !(x & (uint32_t{1} << (31 - zeros)))) ++zeros;
  return zeros;
}

// 1 / (1 + x), q0, for x in [0, 1), q0.
int32_t reciprocal(int32_t x) {
  constexpr int32_t k48Over17 = 1515870810, kMinus32Over17 = -1010580540;    // 2 integer bits
  const auto half = static_cast<int32_t>((int64_t{x} + INT32_MAX + 1) / 2);  // of the denominator; x >= 0
  int32_t y = k48Over17 + high_product(half, kMinus32Over17);
  for (int i = 0; i < 3; ++i) y += saturated_left(high_product(y, (1 << 29) - high_product(half, y)), 2);
  return saturated_left(y, 1);
}

void softmax_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Strided& s = *r.step.strided;
  const QuantParams& q = *r.step.quant;
  const Multiplier& m = q.multipliers[0];
  const int8_t* x = integer(r.step.in, r.arena, 0, 0);
  int8_t* y = integer(r.step.out, r.arena, 0, 0);
  for_each(s, 0, s.reduced_from, [&](const Walk& outer) {
    const auto along = [&](auto visit) { for_each(s, s.reduced_from, s.rank, visit); };
    int32_t top = -128;
    along([&](const Walk& at) {
      const int32_t v = x[outer.in[0] + at.in[0]];
      top = v > top ? v : top;
    });
    const auto exp_of = [&](int32_t difference) {
      return exp_of_negative(high_product(shifted_left(difference, m.shift), m.value));
    };
    int32_t sum = 0;  // 12 integer bits
    along([&](const Walk& at) {
      const int32_t difference = x[outer.in[0] + at.in[0]] - top;
      if (difference >= q.least) sum = wrapped_sum(sum, rounded_quotient(exp_of(difference), 12));
    });
    const int32_t zeros = leading_zeros(static_cast<uint32_t>(sum));
    const auto fraction = static_cast<int32_t>((static_cast<uint32_t>(sum) << zeros) - (uint32_t{1} << 31));
    const int32_t factor = reciprocal(fraction);
    const int32_t shift = 12 - zeros + 31 - 8;
    along([&](const Walk& at) {
      const int32_t difference = x[outer.in[0] + at.in[0]] - top;
      int32_t v = -128;
      if (difference >= q.least) v += rounded_quotient(high_product(factor, exp_of(difference)), shift);
      y[outer.out + at.out] = static_cast<int8_t>(clamped(v, -128, 127));
    });
  });
}

// With more elements than the sum has room for, the sum of exponentials could overflow.
bool supports_softmax(const Step& step) {
  if (step.op != StepOp::kSoftmax || !step.quant || !step.strided) return false;
  int64_t elements = 1;
  for (int32_t d = step.strided->reduced_from; d < step.strided->rank; ++d) elements *= step.strided->dims[d];
  return elements < 4096;
}

}  // namespace

const Kernel kIntegerReferenceSoftmax = {
    .name = "softmax_s8_reference",
    .backend = "reference",
    .supports = supports_softmax,
    .query = reference_query,
    .prepare = reference_prepare,
    .run = softmax_run,
    .types = kInt8,
};

}  // namespace sparsenet::rt

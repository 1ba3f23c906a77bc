// Functions of fixed-point numbers, with the results of TensorFlow Lite's reference kernels (which compute them with
// gemmlowp's). The exponential of a number is the product of tabulated factors, exp(-1/4), exp(-1/2), ..., and a
// polynomial for what is left of -1/4; a reciprocal comes from three steps of Newton and Raphson.
//
// A fixed-point number is named by its integer bits here: q0 has none, so that 2^31 stands for 1.
#pragma once

#include "runtime/requantize.h"

namespace sparsenet::rt {

// x * 2^exponent, saturating.
[[gnu::always_inline]] inline int32_t saturated_left(int32_t x, int32_t exponent) {
  const int64_t wide = int64_t{x} * (int64_t{1} << exponent);
  return wide > INT32_MAX ? INT32_MAX : wide < INT32_MIN ? INT32_MIN : static_cast<int32_t>(wide);
}

// exp(x) for x in [-1/4, 0), both q0: a polynomial around -1/8.
[[gnu::always_inline]] inline int32_t exp_of_small(int32_t x) {
  constexpr int32_t kExpOfEighth = 1895147668, kThird = 715827883;  // exp(-1/8) and 1/3, q0
  const int32_t d = x + (1 << 28);                                  // from -1/8
  const int32_t d2 = high_product(d, d), d3 = high_product(d2, d), d4 = high_product(d2, d2);
  // d^2/2 + d^3/6 + d^4/24
  const int32_t rest = rounded_quotient(high_product(rounded_quotient(d4, 2) + d3, kThird) + d2, 1);
  return kExpOfEighth + high_product(kExpOfEighth, d + rest);
}

// exp(x), q0, for x <= 0 with 4 or 5 integer bits.
[[gnu::always_inline]] inline int32_t exp_of_negative(int32_t x, int integer_bits) {
  const int32_t quarter = 1 << (29 - integer_bits);
  const int32_t small = (x & (quarter - 1)) - quarter;
  int32_t result = exp_of_small(saturated_left(small, integer_bits));
  const int32_t rest = small - x;  // a multiple of 1/4
  // exp(-2^k) for k = -2 ... 4, q0
  constexpr int32_t kFactors[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
  for (int k = 0; k < integer_bits + 2; ++k) {
    if (rest & (quarter << k)) result = high_product(result, kFactors[k]);
  }
  return x == 0 ? INT32_MAX : result;
}

// 2 / (1 + x) with 2 integer bits, for x in [0, 1), q0.
[[gnu::always_inline]] inline int32_t twice_reciprocal(int32_t x) {
  constexpr int32_t k48Over17 = 1515870810, kMinus32Over17 = -1010580540;    // 2 integer bits
  const auto half = static_cast<int32_t>((int64_t{x} + INT32_MAX + 1) / 2);  // of the denominator; x >= 0
  int32_t y = k48Over17 + high_product(half, kMinus32Over17);
  for (int i = 0; i < 3; ++i) y += saturated_left(high_product(y, (1 << 29) - high_product(half, y)), 2);
  return y;
}

// 1 / (1 + x), q0, for x in [0, 1), q0.
[[gnu::always_inline]] inline int32_t reciprocal(int32_t x) {
  return saturated_left(twice_reciprocal(x), 1);
}

// 1 / (1 + exp(-x)), q0, for x with 4 integer bits.
inline int32_t logistic_of(int32_t x) {
  if (x == 0) return 1 << 30;
  const int32_t positive = reciprocal(exp_of_negative(x > 0 ? -x : x, 4));
  return x > 0 ? positive : INT32_MAX - positive;
}

// tanh(x), q0, for x with 4 integer bits: of its magnitude (1 - e) / (1 + e), where e is exp(-2 |x|).
inline int32_t tanh_of(int32_t x) {
  if (x == 0) return 0;
  const int32_t e = exp_of_negative(x > 0 ? -x : x, 5);  // one more integer bit doubles it
  const int32_t positive = saturated_left(twice_reciprocal(e) - (1 << 29), 2);
  return x > 0 ? positive : -positive;
}

}  // namespace sparsenet::rt

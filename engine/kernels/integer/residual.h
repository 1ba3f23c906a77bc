// Sums of residuals: QuantParams::residual, what combined() of requantize.h computes.
#pragma once

#include "kernels/integer/multiply.h"

namespace sparsenet::rt::SPARSENET_ISA {

// The other operand of a sum behind a convolution, QuantParams::residual.
struct Residual {
  const int8_t* from;  // null: there is none
  ptrdiff_t stride;
  Rounding rounding;
  int32_t in_low, in_high;  // of the convolution's result
  int32_t in_zero, zero, out_zero, left, low, high;
  Multiplier of_in, of_residual, of_sum;
  // The same sum by real numbers, where there are such (has_factors): see find_factors().
  bool has_factors;
  float factor, residual_factor, addend;
};

// The sum of a convolution's result, which is not bounded yet, and a residual.
struct Added {
  Factor of_in, of_residual, of_sum;
  VI in_low, in_high, in_zero, zero, out_zero, low, high;
  int32_t left;
  Rounding rounding;
};

SPARSENET_INLINE Added added_of(const Residual& r) {
  return {factor_of(r.of_in),
          factor_of(r.of_residual),
          factor_of(r.of_sum),
          splat_vi(r.in_low),
          splat_vi(r.in_high),
          splat_vi(r.in_zero),
          splat_vi(r.zero),
          splat_vi(r.out_zero),
          splat_vi(r.low),
          splat_vi(r.high),
          r.left,
          r.rounding};
}

SPARSENET_INLINE VI added(VI v, VI residual, const Added& a) {
  const VI bounded = min_vi(max_vi(v, a.in_low), a.in_high);
  const VI x = by((bounded - a.in_zero) << a.left, a.of_in, a.rounding);
  const VI y = by((residual - a.zero) << a.left, a.of_residual, a.rounding);
  return min_vi(max_vi(by(x + y, a.of_sum, a.rounding) + a.out_zero, a.low), a.high);
}

#if defined(__AVX2__)

// The sum needs three roundings in 32 bits by definition. Up to how they round, it is
//     v * factor + residual * residual_factor + addend
// with real numbers, and there are only 2^16 pairs of operands: so numbers are looked for with which the result is the
// same for every pair.
struct AddedReals {
  V low, high;  // of the first operand
  V factor, residual_factor, addend;
};

SPARSENET_INLINE AddedReals added_reals_of(const Residual& r) {
  return {splat(static_cast<float>(r.in_low)), splat(static_cast<float>(r.in_high)), splat(r.factor),
          splat(r.residual_factor), splat(r.addend)};
}

SPARSENET_INLINE V real_sum(VI v, VI residual, const AddedReals& a) {
  const V x = vmin(vmax(__builtin_convertvector(v, V), a.low), a.high);
  return multiply_add(x, a.factor, multiply_add(__builtin_convertvector(residual, V), a.residual_factor, a.addend));
}

// Not bounded.
SPARSENET_INLINE VI added(VI v, VI residual, const AddedReals& a) {
  return nearest_even(real_sum(v, residual, a));
}

// Whether `a` gives the defined result for all operands. Where a result is not at a bound, both differ from the real
// number by less than 2^-11 together (see find_factors()). So only results that are as near to where rounding changes
// have to be compared.
inline bool reals_agree(const AddedReals& a, const Added& defined) {
  constexpr float kFar = 0.5f - 0x1p-11f;
  int32_t lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i;
  for (int32_t x = -128; x < 128; ++x) {
    for (int32_t y = -128; y < 128; y += kLanes) {
      const VI v = splat_vi(x), residual = load_vi(lanes) + y;
      const V sum = real_sum(v, residual, a);
      const VI found = nearest_even(sum);
      const V rest = sum - __builtin_convertvector(found, V);
      const VI is_near = (rest > kFar) | (rest < -kFar);
      if (!any_negative(is_near)) continue;
      const VI bounded = min_vi(max_vi(found, defined.low), defined.high);
      if (any_negative(is_near & (bounded != added(v, residual, defined)))) return false;
    }
  }
  return true;
}

// 2^exponent
SPARSENET_INLINE double power_of_2(int exponent) {
  double p = 1;
  for (; exponent > 0; --exponent) p *= 2;
  for (; exponent < 0; ++exponent) p /= 2;
  return p;
}

SPARSENET_INLINE double value_of(const Multiplier& m) {
  return m.value * power_of_2(m.shift - 31);
}

// Looks for the numbers of AddedReals.
//
// How far results can be from the real number, for those between the bounds, in units of 2^-24: the defined one by
// 2^-14 + 2^-16 (1280), because its operands have 15 bits behind the point and are off by at most 1 each; what is tried
// here away from the middle by 2^-14 and 129 * 2^-20 (3088); and each number of AddedReals, and each of the two
// multiply-adds, by the rounding of what it comes to, which is more than the result where terms cancel. Together it
// must be less than the 2^-11 (8192) of reals_agree().
inline void find_factors(Residual* r) {
  if (r->of_sum.shift > -15 || r->of_in.shift > 0 || r->of_residual.shift > 0) return;
  const double shifted = power_of_2(r->left) * value_of(r->of_sum);
  const double a = value_of(r->of_in) * shifted, b = value_of(r->of_residual) * shifted;
  const double middle = r->out_zero - r->in_zero * a - r->zero * b, c = middle < 0 ? -middle : middle;
  if (128 * a + 2 * 128 * b + 2 * c + 130 > 8192 - 1280 - 3088) return;
  const Added defined = added_of(*r);
  // What is halfway may have to go up, down, or away from zero.
  constexpr int kLarger[] = {0, 2, 4, 8, -2, -4}, kAway[] = {0, 1, -1, 2, -2, 4, -4, 8, -8};
  for (const int larger : kLarger) {
    const double size = 1 + larger * 0x1p-23;
    r->factor = static_cast<float>(a * size);
    r->residual_factor = static_cast<float>(b * size);
    for (const int away : kAway) {
      r->addend = static_cast<float>(middle * size + away * 0x1p-17);
      r->has_factors = reals_agree(added_reals_of(*r), defined);
      if (r->has_factors) return;
    }
  }
}

#else

inline void find_factors(Residual*) {}

#endif

}  // namespace sparsenet::rt::SPARSENET_ISA

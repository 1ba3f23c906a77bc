// Sums of residuals: QuantParams::residual, what combined() of requantize.h computes.
#pragma once

#include "kernels/integer/multiply.h"

namespace sparsenet::rt::SPARSENET_ISA {

// The other operand of a sum behind a convolution, QuantParams::residual.
struct Residual {
  const int8_t* from;  // null: there is none
  ptrdiff_t stride;
  Rounding rounding;
  int32_t in_zero, zero, out_zero, left, low, high;
  Multiplier of_in, of_residual, of_sum;
  // The same sum by one product, where there are such numbers (shift > 0): see sum_of_pairs().
  int32_t pair_high, pair_low, pair_addend, pair_shift;
};

// The sum of a bounded result and a residual.
struct Added {
  Factor of_in, of_residual, of_sum;
  VI in_zero, zero, out_zero, low, high;
  int32_t left;
  Rounding rounding;
};

SPARSENET_INLINE Added added_of(const Residual& r) {
  return {factor_of(r.of_in),  factor_of(r.of_residual), factor_of(r.of_sum),
          splat_vi(r.in_zero), splat_vi(r.zero),         splat_vi(r.out_zero),
          splat_vi(r.low),     splat_vi(r.high),         r.left,
          r.rounding};
}

SPARSENET_INLINE VI added(VI v, VI residual, const Added& a) {
  const VI x = by((v - a.in_zero) << a.left, a.of_in, a.rounding);
  const VI y = by((residual - a.zero) << a.left, a.of_residual, a.rounding);
  return min_vi(max_vi(by(x + y, a.of_sum, a.rounding) + a.out_zero, a.low), a.high);
}

#if defined(__AVX2__)

SPARSENET_INLINE Bits added_words(Bits v, Bits residual, const Added& a) {
  return words_of(added(first_vector(v), first_vector(residual), a),
                  added(second_vector(v), second_vector(residual), a));
}

// The sum needs three roundings in 32 bits by definition. Up to how they round, it is
//     v * a + residual * b + c
// with real numbers, and there are only 2^16 pairs of operands: so numbers of 31 bits for a, b and c are looked for
// with which the result is the same for every pair. An instruction multiplies pairs of 16-bit numbers: a * 2^shift is
// high * 2^8 + low * 2^-7, and the same of b.
struct AddedPairs {
  VI high, low, addend, shift;
};

SPARSENET_INLINE AddedPairs added_pairs_of(const Residual& r) {
  return {splat_vi(r.pair_high), splat_vi(r.pair_low), splat_vi(r.pair_addend), splat_vi(r.pair_shift)};
}

// The sum times 2^shift, and a half.
SPARSENET_INLINE VI sum_of_pairs(Bits pairs, const AddedPairs& a) {
  return added_vi(added_vi((VI)((VU)multiply_pairs(pairs, a.high) << 8), (multiply_pairs(pairs, a.low) + 64) >> 7),
                  a.addend);
}

SPARSENET_INLINE Bits added_words(Bits v, Bits residual, const AddedPairs& a) {
  return words_of(sum_of_pairs(merge_first_words(v, residual), a) >> a.shift,
                  sum_of_pairs(merge_second_words(v, residual), a) >> a.shift);
}

// Whether `a` gives the defined result for all operands. Both differ from the real number by less than 2^-12 together:
// `a` by 11 * 2^-16, the other one by 2^-14 + 2^-16 (see find_pairs()). So only results that are as near to where
// rounding changes have to be compared.
inline bool pairs_agree(int32_t shift, const AddedPairs& a, const Added& defined) {
  const int32_t near = 1 << (shift - 12), fraction = (1 << shift) - 1;
  int32_t lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i;
  for (int32_t x = -128; x < 128; ++x) {
    for (int32_t y = -128; y < 128; y += kLanes) {
      const VI v = splat_vi(x), residual = load_vi(lanes) + y;
      const VI sum = sum_of_pairs(bits((v & 0xffff) | (VI)((VU)residual << 16)), a);
      const VI is_near = ((sum + near) & fraction) < 2 * near;
      if (!any_negative(is_near)) continue;
      const VI bounded = min_vi(max_vi(sum >> a.shift, defined.low), defined.high);
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

SPARSENET_INLINE int32_t nearest_integer(double x) {
  return static_cast<int32_t>(x < 0 ? x - 0.5 : x + 0.5);
}

SPARSENET_INLINE int32_t pair_of(int32_t first, int32_t second) {
  return static_cast<int32_t>(static_cast<uint32_t>(first & 0xffff) | static_cast<uint32_t>(second) << 16);
}

// Looks for the numbers of AddedPairs.
inline void find_pairs(Residual* r) {
  // So operands, which are off by at most 1 each when they are summed, have 15 bits behind the point.
  if (r->of_sum.shift > -15 || r->of_in.shift > 0 || r->of_residual.shift > 0) return;
  const double shifted = power_of_2(r->left) * value_of(r->of_sum);
  const double a = value_of(r->of_in) * shifted, b = value_of(r->of_residual) * shifted;
  int shift = 22;
  while (shift > 16 && 255 * (a + b) + 130 >= power_of_2(30 - shift)) --shift;
  if (255 * (a + b) + 130 >= power_of_2(30 - shift)) return;
  const double unit = power_of_2(shift - 8);
  const int32_t high_a = nearest_integer(a * unit), high_b = nearest_integer(b * unit);
  const double half_and_zeros = 0.5 + r->out_zero - r->in_zero * a - r->zero * b;
  r->pair_high = pair_of(high_a, high_b);
  r->pair_low = pair_of(nearest_integer((a * unit - high_a) * 32768), nearest_integer((b * unit - high_b) * 32768));
  r->pair_shift = shift;
  const int32_t middle = nearest_integer(half_and_zeros * power_of_2(shift));
  const Added defined = added_of(*r);
  constexpr int32_t kAway[] = {0, 1, -1, 2, -2, 3, -3, 5, -5, 8, -8};
  for (const int32_t away : kAway) {
    r->pair_addend = middle + away;
    if (pairs_agree(shift, added_pairs_of(*r), defined)) return;
  }
  r->pair_shift = 0;
}

#else

inline void find_pairs(Residual*) {}

#endif

}  // namespace sparsenet::rt::SPARSENET_ISA

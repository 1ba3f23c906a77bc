// Integer arithmetic of quantised steps: multiplication by factors that are not integers, in 32-bit fixed point. These
// functions define the results; faster kernels must give the same bits.
//
// Source of kDouble: the rounding of TensorFlow Lite's reference kernels (MultiplyByQuantizedMultiplier, built on
// gemmlowp's fixed-point arithmetic), written with shifts that round down.
#pragma once

#include "step/step.h"

namespace sparsenet::rt {

// a * b / 2^31, halves rounded up, saturating.
[[gnu::always_inline]] inline int32_t high_product(int32_t a, int32_t b) {
  if (a == INT32_MIN && b == INT32_MIN) return INT32_MAX;
  return static_cast<int32_t>((int64_t{a} * b + (int64_t{1} << 30)) >> 31);
}

// x / 2^exponent, halves rounded away from zero. 0 <= exponent <= 62.
[[gnu::always_inline]] inline int32_t rounded_quotient(int32_t x, int32_t exponent) {
  if (exponent == 0) return x;
  const int64_t half = int64_t{1} << (exponent - 1);
  return static_cast<int32_t>((int64_t{x} + half - (x < 0 ? 1 : 0)) >> exponent);
}

// x * 2^exponent modulo 2^32.
[[gnu::always_inline]] inline int32_t shifted_left(int32_t x, int32_t exponent) {
  return static_cast<int32_t>(static_cast<uint32_t>(x) << exponent);
}

[[gnu::always_inline]] inline int32_t multiplied(int32_t x, const Multiplier& m, Rounding rounding) {
  if (rounding == Rounding::kDouble) {
    const int32_t left = m.shift > 0 ? m.shift : 0;
    return rounded_quotient(high_product(shifted_left(x, left), m.value), left - m.shift);
  }
  const int32_t right = 31 - m.shift;
  return static_cast<int32_t>((int64_t{x} * m.value + (int64_t{1} << (right - 1))) >> right);
}

[[gnu::always_inline]] inline int32_t clamped(int32_t x, int32_t low, int32_t high) {
  return x < low ? low : x > high ? high : x;
}

// a + b modulo 2^32: sums that overflow have the same bits everywhere. (Lowering refuses networks in which they could.)
[[gnu::always_inline]] inline int32_t wrapped_sum(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}

// sum / count, halves rounded up (kSingle) or away from zero.
[[gnu::always_inline]] inline int32_t rounded_average(int32_t sum, int32_t count, Rounding rounding) {
  if (rounding == Rounding::kDouble) return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
  const int32_t above = sum + count / 2;
  return (above >= 0 ? above : above - count + 1) / count;
}

[[gnu::always_inline]] inline int32_t scaled(int32_t x, const ChannelScale& s) {
  return clamped(static_cast<int32_t>((int64_t{x} * s.multiplier + s.addend) >> s.shift), -128, 127);
}

// a + b, a - b or a * b of integers from which their zero points have been taken.
[[gnu::always_inline]] inline int8_t combined(BinaryOp op, int32_t a, int32_t b, const QuantParams& q) {
  int32_t v = 0;
  if (op == BinaryOp::kMul) {
    v = multiplied(a * b, q.multipliers[0], q.rounding);
  } else {
    const int32_t x = multiplied(shifted_left(a, q.left_shift), q.multipliers[0], q.rounding);
    const int32_t y = multiplied(shifted_left(b, q.left_shift), q.multipliers[1], q.rounding);
    v = multiplied(wrapped_sum(x, op == BinaryOp::kSub ? -y : y), q.multipliers[2], q.rounding);
  }
  return static_cast<int8_t>(clamped(wrapped_sum(v, q.out_zero), q.low, q.high));
}

}  // namespace sparsenet::rt

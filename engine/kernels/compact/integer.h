// What the compact kernels of int8 share. Their results are those of the plain kernels
// (kernels/reference/integers.cpp), bit by bit.
#pragma once

#include <stdint.h>
#include <string.h>

#include "kernels/reference/common.h"
#include "runtime/requantize.h"

// Cortex-M4, M7 and others whose 32-bit registers are pairs of 16-bit numbers for some instructions.
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#define SPARSENET_ARM_DSP
#endif

namespace sparsenet::rt::compact {

extern const Kernel kIntegerConv;
extern const Kernel kIntegerDepthwise;
extern const Kernel kIntegerPool;
extern const Kernel kIntegerGlobalPool;
extern const Kernel kIntegerAdd;
extern const Kernel kIntegerMul;
extern const Kernel kIntegerAffine;

// In list.cpp; terminated by null.
extern const Kernel* const kIntegerKernels[];

// A channel range of an input: channel c of pixel p at base + p * pixel_stride + c.
struct ByteRange {
  const int8_t* base;
  const ChannelScale* scales;  // of its channels; null: none
  int32_t channels, pixel_stride;
};

struct ByteInput {
  const ByteRange* ranges;
  int32_t count, channels;
};

inline ByteInput make_bytes(const Step& step, uint8_t* arena, ByteRange* ranges) {
  const ChannelScale* scales = step.quant->channels;
  for (int32_t i = 0; i < step.in.segment_count; ++i) {
    const Segment& s = step.in.segments[i];
    const void* base = s.constant ? s.constant : arena + s.offset;
    ranges[i] = {static_cast<const int8_t*>(base), scales, s.channels, s.pixel_stride};
    if (scales) scales += s.channels;
  }
  return {ranges, step.in.segment_count, step.in.c};
}

inline size_t byte_ranges_bytes(const View& view) {
  return static_cast<size_t>(view.segment_count) * sizeof(ByteRange);
}

// Where a view of one range lies.
struct Bytes {
  int8_t* base;  // null: none
  int32_t pixel_stride;
};

inline bool is_one_piece(const View& view) {
  return view.segment_count == 1 && !view.segments[0].constant;
}

inline Bytes make_piece(const View& view, uint8_t* arena) {
  if (view.segment_count == 0) return {nullptr, 0};
  return {reinterpret_cast<int8_t*>(arena + view.segments[0].offset), view.segments[0].pixel_stride};
}

// The upper halves of x * y and of x * y + 2^31, which are 64-bit numbers.
[[gnu::always_inline]] inline int32_t upper_product(int32_t x, int32_t y) {
#if defined(SPARSENET_ARM_DSP)
  int32_t result;
  asm("smmul %0, %1, %2" : "=r"(result) : "r"(x), "r"(y));
  return result;
#else
  return static_cast<int32_t>((int64_t{x} * y) >> 32);
#endif
}
[[gnu::always_inline]] inline int32_t rounded_upper_product(int32_t x, int32_t y) {
#if defined(SPARSENET_ARM_DSP)
  int32_t result;
  asm("smmulr %0, %1, %2" : "=r"(result) : "r"(x), "r"(y));
  return result;
#else
  return static_cast<int32_t>((int64_t{x} * y + (int64_t{1} << 31)) >> 32);
#endif
}

// A Multiplier, ready to be used for numbers of a known size: multiplied() with two or three instructions where that is
// exact.
struct Factor {
  Multiplier multiplier;
  Rounding rounding;
  bool fast;
  int32_t half, right;
};

// `largest`: no number that is multiplied has a larger magnitude.
[[gnu::always_inline]] inline Factor make_factor(const Multiplier& m, Rounding rounding, int32_t largest) {
  const bool twice = rounding == Rounding::kDouble;
  // kDouble: twice the number fits into 32 bits, and there is something to shift by. kSingle: only the upper half of
  // the product matters.
  const bool fast = twice ? largest < (1 << 30) && m.shift < 0 : m.shift < -1;
  const int32_t right = twice ? -m.shift : -1 - m.shift;
  return {m, rounding, fast, fast ? 1 << (right - 1) : 0, right};
}

[[gnu::always_inline]] inline int32_t fast_product(int32_t x, const Factor& f) {
  if (f.rounding == Rounding::kDouble) {
    const int32_t v = rounded_upper_product(2 * x, f.multiplier.value);
    return (v + f.half + (v >> 31)) >> f.right;
  }
  return (upper_product(x, f.multiplier.value) + f.half) >> f.right;
}

__attribute__((noinline)) inline int32_t slow_product(int32_t x, const Factor& f) {
  return multiplied(x, f.multiplier, f.rounding);
}

[[gnu::always_inline]] inline int32_t product(int32_t x, const Factor& f) {
  return f.fast ? fast_product(x, f) : slow_product(x, f);
}

[[gnu::always_inline]] inline int32_t bounded_byte(int32_t x, int32_t low, int32_t high) {
  return x < low ? low : x > high ? high : x;
}

// A sum or a product of two integers: what the plain kernels' combined() computes.
struct Combine {
  Factor first, second, last;
  int32_t in_zero, in2_zero, out_zero, low, high, left_shift;
};

inline Combine make_combine(BinaryOp op, const QuantParams& q) {
  Combine c{};
  c.in_zero = q.in_zero;
  c.in2_zero = q.in2_zero;
  c.out_zero = q.out_zero;
  c.low = q.low;
  c.high = q.high;
  c.left_shift = q.left_shift;
  if (op == BinaryOp::kAdd) {
    constexpr int32_t kMostSteps = 510;  // between an integer and a zero point
    const int32_t largest = kMostSteps << q.left_shift;
    c.first = make_factor(q.multipliers[0], q.rounding, largest);
    c.second = make_factor(q.multipliers[1], q.rounding, largest);
    // Factors of one or less leave numbers as they are at most.
    const bool small = q.multipliers[0].shift <= 0 && q.multipliers[1].shift <= 0 && largest < (1 << 29);
    c.last = make_factor(q.multipliers[2], q.rounding, small ? 2 * largest : INT32_MAX);
  } else {
    c.last = make_factor(q.multipliers[0], q.rounding, 510 * 510);
  }
  return c;
}

template <BinaryOp kOp>
[[gnu::always_inline]] inline int32_t combined_bytes(int32_t a, int32_t b, const Combine& c) {
  a -= c.in_zero;
  b -= c.in2_zero;
  int32_t v;
  if (kOp == BinaryOp::kAdd) {
    const int32_t x = product(shifted_left(a, c.left_shift), c.first);
    const int32_t y = product(shifted_left(b, c.left_shift), c.second);
    v = product(wrapped_sum(x, y), c.last);
  } else {
    v = product(a * b, c.last);
  }
  return bounded_byte(wrapped_sum(v, c.out_zero), c.low, c.high);
}

}  // namespace sparsenet::rt::compact

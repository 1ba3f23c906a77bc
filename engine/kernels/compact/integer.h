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

extern const Kernel kIntegerConvSingle;
extern const Kernel kIntegerConvDouble;
// For layers of one output pixel and many weights.
extern const Kernel kIntegerPixelSingle;
extern const Kernel kIntegerPixelDouble;
extern const Kernel kIntegerDepthwise;
extern const Kernel kIntegerMaxPool;
extern const Kernel kIntegerAveragePool;
extern const Kernel kIntegerGlobalPool;
extern const Kernel kIntegerAdd;
extern const Kernel kIntegerMul;
extern const Kernel kIntegerAffine;
extern const Kernel kIntegerGate;
extern const Kernel kIntegerTable;

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

// A Multiplier, ready to be used for numbers of a known size: multiplied() with a few instructions where that is exact.
struct Factor {
  int32_t value, half, right;
  bool fast;
};

// `largest`: no number that is multiplied has a larger magnitude.
template <Rounding kRounding>
[[gnu::always_inline]] inline Factor make_factor(const Multiplier& m, int32_t largest) {
  const bool twice = kRounding == Rounding::kDouble;
  // kDouble: twice the number fits into 32 bits, and there is something to shift by. kSingle: only the upper half of
  // the product matters.
  const bool fast = twice ? largest < (1 << 30) && m.shift < 0 : m.shift < -1;
  const int32_t right = twice ? -m.shift : -1 - m.shift;
  return {m.value, fast ? 1 << (right - 1) : 0, fast ? right : 0, fast};
}

// The same where it is known that this is exact.
template <Rounding kRounding>
[[gnu::always_inline]] inline Factor fast_factor(const Multiplier& m) {
  const int32_t right = kRounding == Rounding::kDouble ? -m.shift : -1 - m.shift;
  return {m.value, 1 << (right - 1), right, true};
}

template <Rounding kRounding>
[[gnu::always_inline]] inline int32_t fast_product(int32_t x, const Factor& f) {
  if (kRounding == Rounding::kDouble) {
    const int32_t v = rounded_upper_product(2 * x, f.value);
    return (v + f.half + (v >> 31)) >> f.right;
  }
  return (upper_product(x, f.value) + f.half) >> f.right;
}

// Out of line: it is long and rarely needed.
__attribute__((noinline)) inline int32_t slow_product(int32_t x, const Multiplier& m, Rounding rounding) {
  return multiplied(x, m, rounding);
}

template <Rounding kRounding>
[[gnu::always_inline]] inline int32_t product(int32_t x, const Factor& f, const Multiplier& m) {
  return f.fast ? fast_product<kRounding>(x, f) : slow_product(x, m, kRounding);
}

[[gnu::always_inline]] inline int32_t bounded_byte(int32_t x, int32_t low, int32_t high) {
  return x < low ? low : x > high ? high : x;
}

// The nearest integer within int8.
[[gnu::always_inline]] inline int32_t saturated_byte(int32_t x) {
#if defined(SPARSENET_ARM_DSP)
  int32_t result;
  asm("ssat %0, #8, %1" : "=r"(result) : "r"(x));
  return result;
#else
  return bounded_byte(x, -128, 127);
#endif
}

// scaled() of requantize.h; 32 bits are enough for what make_channel_scale() makes and check_quant() accepts.
[[gnu::always_inline]] inline int32_t scaled_byte(int32_t x, int32_t multiplier, int32_t addend, int32_t shift) {
  return saturated_byte((x * multiplier + addend) >> shift);
}

inline bool is_all_bytes(const QuantParams& q) {
  return q.low == -128 && q.high == 127;
}

// Of a kAdd: the largest magnitude of an operand that is shifted to the left, and that of the sum of their products.
inline int32_t largest_of_operand(const QuantParams& q) {
  constexpr int32_t kMostSteps = 510;  // between an integer and a zero point
  return kMostSteps << q.left_shift;
}
inline int32_t largest_of_sum(const QuantParams& q) {
  // Factors of one or less leave numbers as they are at most.
  const int32_t operand = largest_of_operand(q);
  return q.multipliers[0].shift <= 0 && q.multipliers[1].shift <= 0 && operand < 1 << 29 ? 2 * operand : INT32_MAX;
}

}  // namespace sparsenet::rt::compact

// Compact kernels: for devices with little memory and no vector unit. Weights are used where they lie (in flash), the
// scratch takes a few kilobytes, and the code is small. They compute one float at a time, in register tiles that fit
// into 32 single-precision registers. On other machines SPARSENET_ISA=compact selects them, which is how they are
// tested.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/reference/common.h"

namespace sparsenet::rt::compact {

extern const Kernel kConv;
extern const Kernel kPool;
extern const Kernel kGlobalPool;
extern const Kernel kAttention;
extern const Kernel kAffine;

// The same for float16 parameters, which are widened as they are read.
extern const Kernel kConvHalf;
extern const Kernel kPoolHalf;
extern const Kernel kGlobalPoolHalf;
extern const Kernel kAttentionHalf;
extern const Kernel kAffineHalf;

// In list.cpp; terminated by null.
extern const Kernel* const kPortableKernels[];
extern const Kernel* const kHalfKernels[];  // only the kernels for float16 parameters

// A float16 parameter as a float. (Kernels are templates over the type of their parameters, float or Half.)
struct Half {
  uint16_t bits;
  operator float() const {
#if defined(__ARM_FP) && (__ARM_FP & 2) && !defined(__aarch64__)
    float value;
    asm("vmov %0, %1\n vcvtb.f32.f16 %0, %0" : "=t"(value) : "r"(bits));
    return value;
#else
    return half_to_float(bits);
#endif
  }
};

// A channel range of an input: channel c of pixel p at base + p * pixel_stride + c.
struct Range {
  const float* base;
  int32_t channels, pixel_stride;
};

// An input with the affine and the bounds in front of it.
template <class Real>
struct Input {
  const Range* ranges;
  int32_t count, channels;
  const Real *scale, *shift;  // null: no affine in front
  float low, high;
};

inline size_t ranges_bytes(const View& view) {
  return static_cast<size_t>(view.segment_count) * sizeof(Range);
}

template <class Real>
const Real* as(const Parameter& parameter) {
  return static_cast<const Real*>(parameter.data);
}

template <class Real>
Input<Real> make_input(const Step& step, uint8_t* arena, Range* ranges) {
  for (int32_t i = 0; i < step.in.segment_count; ++i) {
    const Segment& s = step.in.segments[i];
    ranges[i] = {f32(s, arena), s.channels, s.pixel_stride};
  }
  return {ranges,          step.in.segment_count, step.in.c, as<Real>(step.affine.scale), as<Real>(step.affine.shift),
          step.affine.low, step.affine.high};
}

// Where a view of one range lies, to write to it or to add it.
struct Dense {
  float* base;  // null: none
  int32_t pixel_stride;
};

inline bool is_dense(const View& view) {
  return view.segment_count == 1 && !view.segments[0].constant;
}

inline Dense make_dense(const View& view, uint8_t* arena) {
  if (view.segment_count == 0) return {nullptr, 0};
  return {reinterpret_cast<float*>(arena + view.segments[0].offset), view.segments[0].pixel_stride};
}

// What a convolution does with its sums, apart from adding the residual.
struct Finish {
  float low, high;
  int32_t has_low, has_high;  // whether these are bounds at all
  ptrdiff_t residual_stride, out_stride;
};

// Calls f(channel, value) for all channels of a pixel; the affine and the bounds are already applied to the value.
template <class Real, class F>
inline void for_each_channel(const Input<Real>& in, int64_t pixel, F f) {
  int32_t channel = 0;
  for (int32_t r = 0; r < in.count; ++r) {
    const Range& range = in.ranges[r];
    const float* x = range.base + pixel * range.pixel_stride;
    const float* const end = x + range.channels;
    if (in.scale) {
      for (; x != end; ++x, ++channel) {
        f(channel, bounded_one(*x * in.scale[channel] + in.shift[channel], in.low, in.high));
      }
    } else {
      for (; x != end; ++x, ++channel) f(channel, *x);
    }
  }
}

}  // namespace sparsenet::rt::compact

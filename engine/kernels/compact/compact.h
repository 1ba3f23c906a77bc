// Compact kernels: for devices with little memory and no vector unit. Weights are used where they lie (in flash), the
// scratch is a few kilobytes, the code is small. One float at a time, in register tiles that fit 32 single-precision
// registers. On other machines SPARSENET_ISA=compact selects them, which is how they are tested.
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

// In compact_list.cpp; terminated by null.
extern const Kernel* const kPortableKernels[];

// A channel range of an input: channel c of pixel p at base + p * pixel_stride + c.
struct Range {
  const float* base;
  int32_t channels, pixel_stride;
};

// An input with the affine and the bounds in front of it.
struct Input {
  const Range* ranges;
  int32_t count, channels;
  const float *scale, *shift;  // null: nothing in front
  float low, high;
};

inline size_t ranges_bytes(const View& view) {
  return static_cast<size_t>(view.segment_count) * sizeof(Range);
}

inline Input make_input(const Step& step, uint8_t* arena, Range* ranges) {
  for (int32_t i = 0; i < step.in.segment_count; ++i) {
    const Segment& s = step.in.segments[i];
    ranges[i] = {s.constant ? s.constant : reinterpret_cast<const float*>(arena + s.offset), s.channels,
                 s.pixel_stride};
  }
  return {ranges,          step.in.segment_count, step.in.c, step.affine.scale, step.affine.shift,
          step.affine.low, step.affine.high};
}

// A view of one range, as something to write to or to add.
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

// Calls f(x, channel, value) for all channels of a pixel: value is what is in memory after the affine and the bounds.
template <class F>
inline void for_each_channel(const Input& in, int64_t pixel, F f) {
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

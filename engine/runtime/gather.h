// Gather: pixels that lie in several channel ranges, or have an affine and bounds in front, written side by side.
#pragma once

#include <stdint.h>

namespace sparsenet::rt {

struct GatherRange {
  const float* base;
  int32_t channels;
  int32_t pixel_stride;  // floats from one pixel to the next
};

struct Gather {
  const GatherRange* ranges;
  int32_t range_count, channels;
  const float *scale, *shift;  // by channel; null: a plain copy
  float low, high;             // bounds of x * scale + shift
};

}  // namespace sparsenet::rt

// Gather: describes pixels that are to be written with all channels side by side, read from several channel ranges, or
// with an affine and bounds applied on the way, or both.
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
  const float *scale, *shift;  // one value per channel; null: a plain copy
  float low, high;             // bounds of x * scale + shift
};

}  // namespace sparsenet::rt

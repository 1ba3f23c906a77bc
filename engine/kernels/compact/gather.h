// What a convolution of conv.cpp reads, gathered into scratch.
#pragma once

#include "kernels/compact/compact.h"

namespace sparsenet::rt::compact {

// A prepared convolution.
template <class Real>
struct Conv {
  Input<Real> in;
  Dense out, residual;
  Act act;
  const Real *weight, *bias;
  int32_t in_h, in_w, out_h, out_w, outputs;
  int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int32_t patch_w;  // pixels of a gathered row
};

// From one pixel of a gathered row to the next, in pixels of the input.
template <class Real>
int32_t step_of(const Conv<Real>& s) {
  return s.kernel_w == 1 ? s.stride_w : 1;
}

// From what an output pixel reads to what the next one reads, in pixels of a gathered row.
template <class Real>
int32_t next_of(const Conv<Real>& s) {
  return s.kernel_w == 1 ? 1 : s.stride_w;
}

// Define functions that gather some neighbours of a row, from `pixel` on, to to[c * column], to[c * column + 1], ...;
// all of them are inside of the image. There is one pointer per neighbour, because a load can advance its pointer at no
// cost.
#define SPARSENET_COPY(p) to[p] = *x##p++;
#define SPARSENET_AFFINE(p)                  \
  {                                          \
    const float v = *x##p++ * scale + shift; \
    const float w = v < low ? low : v;       \
    to[p] = w > high ? high : w;             \
  }
#define SPARSENET_RELU(p)                    \
  {                                          \
    const float v = *x##p++ * scale + shift; \
    to[p] = v < low ? low : v;               \
  }
#define SPARSENET_GATHER(name, neighbours, ...)                                                        \
  template <class Real>                                                                                \
  __attribute__((noinline)) void name(const Conv<Real>& s, int64_t pixel, float* to, int32_t column) { \
    const Real *scales = s.in.scale, *shifts = s.in.shift;                                             \
    const int32_t step = step_of(s);                                                                   \
    const float low = s.in.low, high = s.in.high;                                                      \
    for (const Range *r = s.in.ranges, *end = r + s.in.count; r != end; ++r) {                         \
      const ptrdiff_t stride = ptrdiff_t{step} * r->pixel_stride;                                      \
      const float* x0 = r->base + pixel * r->pixel_stride;                                             \
      __VA_ARGS__;                                                                                     \
      const float* const stop = x0 + r->channels; /* of which there is at least one */                 \
      if (!scales) {                                                                                   \
        do {                                                                                           \
          neighbours(SPARSENET_COPY) to += column;                                                     \
        } while (x0 != stop);                                                                          \
      } else if (high == INFINITY) {                                                                   \
        do {                                                                                           \
          const float scale = *scales++, shift = *shifts++;                                            \
          neighbours(SPARSENET_RELU) to += column;                                                     \
        } while (x0 != stop);                                                                          \
      } else {                                                                                         \
        do {                                                                                           \
          const float scale = *scales++, shift = *shifts++;                                            \
          neighbours(SPARSENET_AFFINE) to += column;                                                   \
        } while (x0 != stop);                                                                          \
      }                                                                                                \
    }                                                                                                  \
  }
#define SPARSENET_POINTERS_4 const float *x1 = x0 + stride, *x2 = x1 + stride, *x3 = x2 + stride
#define SPARSENET_ONE(each) each(0)
#define SPARSENET_FOUR(each) each(0) each(1) each(2) each(3)
#define SPARSENET_SIX(each) SPARSENET_FOUR(each) each(4) each(5)
SPARSENET_GATHER(gather_one, SPARSENET_ONE, (void)stride)
SPARSENET_GATHER(gather_four, SPARSENET_FOUR, SPARSENET_POINTERS_4)
SPARSENET_GATHER(gather_six, SPARSENET_SIX, SPARSENET_POINTERS_4; const float* x4 = x3 + stride, *x5 = x4 + stride)

#undef SPARSENET_SIX
#undef SPARSENET_FOUR
#undef SPARSENET_ONE
#undef SPARSENET_POINTERS_4
#undef SPARSENET_GATHER
#undef SPARSENET_RELU
#undef SPARSENET_AFFINE
#undef SPARSENET_COPY

// Zeroes `count` neighbours of a gathered row. (Not channel by channel: compilers would call memset for each of them.)
inline void fill_zero(float* row, int32_t count, int32_t channels, int32_t column) {
  for (; count > 0; --count, ++row) {
    float* to = row;
    for (int32_t n = channels; n > 0; --n, to += column) *to = 0.f;
  }
}

// Gathers what the output pixels from (oy, ox) on read. What is outside of the image is zero.
template <class Real>
void gather(const Conv<Real>& s, int64_t image, int32_t oy, int32_t ox, float* patch) {
  const int32_t width = s.patch_w, column = s.kernel_h * width, step = step_of(s);
  const int32_t left = ox * s.stride_w - s.pad_left;
  // Those of a row that are inside: [begin, end).
  int32_t begin = 0, end = width;
  if (left < 0) begin = (step - 1 - left) / step;
  if (left + (width - 1) * step >= s.in_w) end = left < s.in_w ? (s.in_w - left + step - 1) / step : 0;
  for (int32_t ky = 0; ky < s.kernel_h; ++ky, patch += width) {
    const int32_t y = oy * s.stride_h - s.pad_top + ky * s.dilation_h;
    if (y < 0 || y >= s.in_h || begin >= end) {
      fill_zero(patch, width, s.in.channels, column);
      continue;
    }
    if (begin > 0) fill_zero(patch, begin, s.in.channels, column);
    if (end < width) fill_zero(patch + end, width - end, s.in.channels, column);
    int64_t pixel = (image * s.in_h + y) * s.in_w + left + begin * step;
    for (int32_t i = begin, count; i < end; i += count, pixel += count * step) {
      count = end - i;
      if (count == 6) {
        gather_six(s, pixel, patch + i, column);
      } else if (count >= 4) {
        count = 4;
        gather_four(s, pixel, patch + i, column);
      } else {
        count = 1;
        gather_one(s, pixel, patch + i, column);
      }
    }
  }
}

}  // namespace sparsenet::rt::compact

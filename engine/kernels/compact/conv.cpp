// Convolution and fully connected layers with weights in the order in which the model stores them, [out][in][kh][kw].
//
// Four pixels of an output row are computed at a time. What they read, kh rows of 3 * stride + (kw - 1) * dilation + 1
// pixels, or only every stride-th pixel if the kernel is one pixel wide, is gathered into scratch as [in][kh][pixels],
// with the affine, the bounds and the padding applied; then four outputs at a time run through it: 16 sums in
// registers, 8 loads for 16 multiply-adds (1x1), 18 or 21 for 48 (3x3 with stride 1 or 2), fewer where one instruction
// loads several floats (tile_arm.h).
#include "kernels/compact/compact.h"

#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && defined(__ARM_FEATURE_FMA) && defined(__ARM_FP)
#define SPARSENET_ARM_TILES
#include "kernels/compact/tile_arm.h"
#endif

namespace sparsenet::rt::compact {
namespace {

constexpr int32_t kPixels = 4, kOutputs = 4;

template <class Real>
struct State {
  Input<Real> in;
  Dense out, residual;
  Act act;
  const Real *weight, *bias;
  int32_t in_h, in_w, out_h, out_w, outputs;
  int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int32_t patch_w;  // pixels of a gathered row
};

int32_t patch_width(const Step& s) {
  if (s.window.kernel_w == 1) return kPixels;
  return (kPixels - 1) * s.window.stride_w + (s.window.kernel_w - 1) * s.window.dilation_w + 1;
}

// Whether sums of the window's sizes fit into 32 bits. No real network goes beyond; if one does, it gets the reference
// kernel.
bool is_modest(const Step& s) {
  constexpr int32_t kMost = 1 << 10;
  return s.window.stride_w <= kMost && s.window.dilation_w <= kMost && s.window.kernel_w <= kMost &&
         s.window.kernel_h <= kMost && int64_t{s.in.c} * s.window.kernel_h * patch_width(s) <= int64_t{1} << 26;
}

bool supports(const Step& s) {
  return s.op == StepOp::kConv && is_modest(s) && s.conv.groups == 1 && !s.conv.transposed && is_dense(s.out) &&
         (s.in2.segment_count == 0 || is_dense(s.in2));
}

template <class Real>
void query(const Step& s, KernelNeeds* needs) {
  *needs = {};
  needs->state_bytes = sizeof(State<Real>) + ranges_bytes(s.in);
  needs->scratch_bytes = static_cast<uint64_t>(s.in.c) * static_cast<uint64_t>(s.window.kernel_h) *
                         static_cast<uint64_t>(patch_width(s)) * sizeof(float);
  needs->chunks = s.out.n * s.out.h;
}

template <class Real>
const char* prepare(const Step& s, const Place& place) {
  auto* state = static_cast<State<Real>*>(place.state);
  auto* ranges = reinterpret_cast<Range*>(state + 1);
  *state = {make_input<Real>(s, place.arena, ranges),
            make_dense(s.out, place.arena),
            make_dense(s.in2, place.arena),
            s.act,
            as<Real>(s.conv.weight),
            as<Real>(s.conv.bias),
            s.in.h,
            s.in.w,
            s.out.h,
            s.out.w,
            s.out.c,
            s.window.kernel_h,
            s.window.kernel_w,
            s.window.stride_h,
            s.window.stride_w,
            s.window.dilation_h,
            s.window.dilation_w,
            s.window.pad_top,
            s.window.pad_left,
            patch_width(s)};
  return nullptr;
}

// From one pixel of a gathered row to the next, in pixels of the input.
template <class Real>
int32_t step_of(const State<Real>& s) {
  return s.kernel_w == 1 ? s.stride_w : 1;
}

// From what an output pixel reads to what the next one reads, in pixels of a gathered row.
template <class Real>
int32_t next_of(const State<Real>& s) {
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
#define SPARSENET_GATHER(name, neighbours, ...)                                                         \
  template <class Real>                                                                                 \
  __attribute__((noinline)) void name(const State<Real>& s, int64_t pixel, float* to, int32_t column) { \
    const Real *scales = s.in.scale, *shifts = s.in.shift;                                              \
    const int32_t step = step_of(s);                                                                    \
    const float low = s.in.low, high = s.in.high;                                                       \
    for (const Range *r = s.in.ranges, *end = r + s.in.count; r != end; ++r) {                          \
      const ptrdiff_t stride = ptrdiff_t{step} * r->pixel_stride;                                       \
      const float* x0 = r->base + pixel * r->pixel_stride;                                              \
      __VA_ARGS__;                                                                                      \
      const float* const stop = x0 + r->channels; /* of which there is at least one */                  \
      if (!scales) {                                                                                    \
        do {                                                                                            \
          neighbours(SPARSENET_COPY) to += column;                                                      \
        } while (x0 != stop);                                                                           \
      } else if (high == INFINITY) {                                                                    \
        do {                                                                                            \
          const float scale = *scales++, shift = *shifts++;                                             \
          neighbours(SPARSENET_RELU) to += column;                                                      \
        } while (x0 != stop);                                                                           \
      } else {                                                                                          \
        do {                                                                                            \
          const float scale = *scales++, shift = *shifts++;                                             \
          neighbours(SPARSENET_AFFINE) to += column;                                                    \
        } while (x0 != stop);                                                                           \
      }                                                                                                 \
    }                                                                                                   \
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
void fill_zero(float* row, int32_t count, int32_t channels, int32_t column) {
  for (; count > 0; --count, ++row) {
    float* to = row;
    for (int32_t n = channels; n > 0; --n, to += column) *to = 0.f;
  }
}

// Gathers what the output pixels from (oy, ox) on read. What is outside of the image is zero.
template <class Real>
void gather(const State<Real>& s, int64_t image, int32_t oy, int32_t ox, float* patch) {
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

#define SPARSENET_TAP(w0, w1, w2, w3, x0, x1, x2, x3)               \
  {                                                                 \
    const float p0 = x0, p1 = x1, p2 = x2, p3 = x3;                 \
    const float u0 = w0, u1 = w1, u2 = w2, u3 = w3;                 \
    a00 += u0 * p0, a01 += u0 * p1, a02 += u0 * p2, a03 += u0 * p3; \
    a10 += u1 * p0, a11 += u1 * p1, a12 += u1 * p2, a13 += u1 * p3; \
    a20 += u2 * p0, a21 += u2 * p1, a22 += u2 * p2, a23 += u2 * p3; \
    a30 += u3 * p0, a31 += u3 * p1, a32 += u3 * p2, a33 += u3 * p3; \
  }

#define SPARSENET_STORE(s)                          \
  s[0] = a00, s[1] = a10, s[2] = a20, s[3] = a30;   \
  s[4] = a01, s[5] = a11, s[6] = a21, s[7] = a31;   \
  s[8] = a02, s[9] = a12, s[10] = a22, s[11] = a32; \
  s[12] = a03, s[13] = a13, s[14] = a23, s[15] = a33;

#if defined(SPARSENET_ARM_TILES)
using compact::sums_1x1;  // those of tile_arm.h
using compact::sums_3x3;
#endif

// The sums of a tile over n inputs of a 1x1 kernel; x: [n][4]; w: four rows of weights, `row` apart;
// sums: [pixel][output].
template <class Real>
void sums_1x1(const Real* w, const Real* b, ptrdiff_t row, const float* x, int32_t n, float* sums) {
  float a00 = b[0], a01 = a00, a02 = a00, a03 = a00, a10 = b[1], a11 = a10, a12 = a10, a13 = a10;
  float a20 = b[2], a21 = a20, a22 = a20, a23 = a20, a30 = b[3], a31 = a30, a32 = a30, a33 = a30;
  const Real *v0 = w, *v1 = v0 + row, *v2 = v1 + row, *v3 = v2 + row;
  for (; n >= 4; n -= 4, x += 16, v0 += 4, v1 += 4, v2 += 4, v3 += 4) {
    SPARSENET_TAP(v0[0], v1[0], v2[0], v3[0], x[0], x[1], x[2], x[3])
    SPARSENET_TAP(v0[1], v1[1], v2[1], v3[1], x[4], x[5], x[6], x[7])
    SPARSENET_TAP(v0[2], v1[2], v2[2], v3[2], x[8], x[9], x[10], x[11])
    SPARSENET_TAP(v0[3], v1[3], v2[3], v3[3], x[12], x[13], x[14], x[15])
  }
  for (; n > 0; --n, x += 4) SPARSENET_TAP(*v0++, *v1++, *v2++, *v3++, x[0], x[1], x[2], x[3])
  SPARSENET_STORE(sums)
}

// The same for n inputs of a 3x3 kernel, dilation 1; x: [n][3][3 * stride + 3].
template <int32_t kStride, class Real>
void sums_3x3(const Real* w, const Real* b, ptrdiff_t row, const float* x, int32_t n, float* sums) {
  constexpr int32_t k = kStride;
  float a00 = b[0], a01 = a00, a02 = a00, a03 = a00, a10 = b[1], a11 = a10, a12 = a10, a13 = a10;
  float a20 = b[2], a21 = a20, a22 = a20, a23 = a20, a30 = b[3], a31 = a30, a32 = a30, a33 = a30;
  const Real *v0 = w, *v1 = v0 + row, *v2 = v1 + row, *v3 = v2 + row;
  for (n *= 3; n > 0; --n, x += 3 * k + 3, v0 += 3, v1 += 3, v2 += 3, v3 += 3) {
    SPARSENET_TAP(v0[0], v1[0], v2[0], v3[0], x[0], x[k], x[2 * k], x[3 * k])
    SPARSENET_TAP(v0[1], v1[1], v2[1], v3[1], x[1], x[k + 1], x[2 * k + 1], x[3 * k + 1])
    SPARSENET_TAP(v0[2], v1[2], v2[2], v3[2], x[2], x[k + 2], x[2 * k + 2], x[3 * k + 2])
  }
  SPARSENET_STORE(sums)
}

// The same for any kernel size, stride and dilation.
template <class Real>
void sums_any(const State<Real>& s, const Real* w, const Real* b, ptrdiff_t row, const float* x, float* sums) {
  float a00 = b[0], a01 = a00, a02 = a00, a03 = a00, a10 = b[1], a11 = a10, a12 = a10, a13 = a10;
  float a20 = b[2], a21 = a20, a22 = a20, a23 = a20, a30 = b[3], a31 = a30, a32 = a30, a33 = a30;
  const Real *v0 = w, *v1 = v0 + row, *v2 = v1 + row, *v3 = v2 + row;
  const int32_t next = next_of(s);
  for (int32_t n = s.in.channels * s.kernel_h; n > 0; --n, x += s.patch_w) {
    for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
      const float* from = x + kx * s.dilation_w;
      SPARSENET_TAP(*v0++, *v1++, *v2++, *v3++, from[0], from[next], from[2 * next], from[3 * next])
    }
  }
  SPARSENET_STORE(sums)
}

#undef SPARSENET_STORE
#undef SPARSENET_TAP

// Adds the residual, if there is one, to a tile's sums, applies the bounds, and stores them in the output.
template <bool kLow, bool kHigh>
inline void store_bounded(const float* sums, [[maybe_unused]] float low, [[maybe_unused]] float high,
                          const float* residual, ptrdiff_t residual_stride, float* out, ptrdiff_t stride) {
  const float* const end = sums + kOutputs * kPixels;
  do {
    float v0 = sums[0], v1 = sums[1], v2 = sums[2], v3 = sums[3];
    if (residual) {
      v0 += residual[0], v1 += residual[1], v2 += residual[2], v3 += residual[3];
      residual += residual_stride;
    }
    if constexpr (kLow) {
      v0 = v0 < low ? low : v0, v1 = v1 < low ? low : v1;
      v2 = v2 < low ? low : v2, v3 = v3 < low ? low : v3;
    }
    if constexpr (kHigh) {
      v0 = v0 > high ? high : v0, v1 = v1 > high ? high : v1;
      v2 = v2 > high ? high : v2, v3 = v3 > high ? high : v3;
    }
    out[0] = v0, out[1] = v1, out[2] = v2, out[3] = v3;
    sums += kOutputs, out += stride;
  } while (sums != end);
}

__attribute__((noinline)) void store_tile(const float* sums, float low, float high, const float* residual,
                                          ptrdiff_t residual_stride, float* out, ptrdiff_t stride) {
  if (high != INFINITY) {
    store_bounded<true, true>(sums, low, high, residual, residual_stride, out, stride);
  } else if (low != -INFINITY) {
    store_bounded<true, false>(sums, low, high, residual, residual_stride, out, stride);
  } else {
    store_bounded<false, false>(sums, low, high, residual, residual_stride, out, stride);
  }
}

// One output at one pixel, for what is left at the edges and for fully connected layers.
template <class Real>
float single(const State<Real>& s, const Real* w, const float* x, float sum) {
  for (int32_t n = s.in.channels * s.kernel_h; n > 0; --n, x += s.patch_w) {
    for (int32_t kx = 0; kx < s.kernel_w; ++kx) sum += *w++ * x[kx * s.dilation_w];
  }
  return sum;
}

template <class Real>
void finish(const State<Real>& s, int64_t pixel, int32_t output, float sum) {
  if (s.residual.base) sum += s.residual.base[pixel * s.residual.pixel_stride + output];
  s.out.base[pixel * s.out.pixel_stride + output] = activate_one(sum, s.act);
}

template <class Real>
constexpr Real kNoBias[kOutputs] = {};

// Four outputs at a time, of four pixels; returns how many outputs are done.
template <class Real>
__attribute__((noinline)) int32_t run_tiles(const State<Real>& s, int64_t pixel, const float* patch) {
  const int32_t inputs = s.in.channels, taps = s.kernel_h * s.kernel_w;
  const ptrdiff_t row = ptrdiff_t{inputs} * taps;
  const bool is_1x1 = taps == 1;
  const bool is_3x3 = s.kernel_h == 3 && s.kernel_w == 3 && s.dilation_w == 1 && s.stride_w <= 2;
  const Real *w = s.weight, *bias = s.bias ? s.bias : kNoBias<Real>;
  const float* residual = s.residual.base ? s.residual.base + pixel * s.residual.pixel_stride : nullptr;
  float* out = s.out.base + pixel * s.out.pixel_stride;
  int32_t o = 0;
  for (; o + kOutputs <= s.outputs; o += kOutputs, w += kOutputs * row, out += kOutputs) {
    float sums[kOutputs * kPixels];
    if (is_1x1) {
      sums_1x1(w, bias, row, patch, inputs, sums);
    } else if (!is_3x3) {
      sums_any(s, w, bias, row, patch, sums);
    } else if (s.stride_w == 1) {
      sums_3x3<1>(w, bias, row, patch, inputs, sums);
    } else {
      sums_3x3<2>(w, bias, row, patch, inputs, sums);
    }
    if (s.act.kind == Act::kClamp) {
      store_tile(sums, s.act.low, s.act.high, residual, s.residual.pixel_stride, out, s.out.pixel_stride);
    } else {
      for (int32_t i = 0; i < kOutputs * kPixels; ++i) finish(s, pixel + i / kOutputs, o + i % kOutputs, sums[i]);
    }
    if (s.bias) bias += kOutputs;
    if (residual) residual += kOutputs;
  }
  return o;
}

template <class Real>
void run(const void* state, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State<Real>*>(state);
  auto* patch = static_cast<float*>(scratch);
  const int32_t oy = chunk % s.out_h;
  const int64_t image = chunk / s.out_h;
  const ptrdiff_t row = ptrdiff_t{s.in.channels} * s.kernel_h * s.kernel_w;
  for (int32_t ox = 0; ox < s.out_w; ox += kPixels) {
    gather(s, image, oy, ox, patch);
    const int64_t pixel = int64_t{chunk} * s.out_w + ox;
    const int32_t pixels = s.out_w - ox < kPixels ? s.out_w - ox : kPixels;
    for (int32_t o = pixels == kPixels ? run_tiles(s, pixel, patch) : 0; o < s.outputs; ++o) {
      const float bias = s.bias ? static_cast<float>(s.bias[o]) : 0.f;
      for (int32_t p = 0; p < pixels; ++p) {
        finish(s, pixel + p, o, single(s, s.weight + o * row, patch + p * next_of(s), bias));
      }
    }
  }
}

}  // namespace

const Kernel kConv = {
    .name = "conv2d_f32_compact",
    .backend = "portable",
    .supports = supports,
    .query = query<float>,
    .prepare = prepare<float>,
    .run = run<float>,
};
const Kernel kConvHalf = {
    .name = "conv2d_f16_compact",
    .backend = "portable",
    .supports = supports,
    .query = query<Half>,
    .prepare = prepare<Half>,
    .run = run<Half>,
    .types = kHalfParameters,
};

}  // namespace sparsenet::rt::compact

// Convolution and fully connected layers with weights in the order in which the model stores them, [out][in][kh][kw].
//
// Four pixels of an output row are computed at a time. What they read, kh rows of 3 * stride + (kw - 1) * dilation + 1
// pixels, is gathered into scratch as [in][kh][pixels], with the affine, the bounds and the padding applied; then four
// outputs at a time run through it: 16 sums in registers, 8 loads for 16 multiply-adds (1x1), 18 for 48 (3x3), fewer
// where one instruction loads several floats (tile_arm.h).
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

// Gathers pixels that lie `stride` apart, n channels of each, to to[c * column + pixel]. There is one pointer per
// pixel, because a load can advance its pointer at no cost.
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
#define SPARSENET_FOUR(each) each(0) each(1) each(2) each(3)
#define SPARSENET_SIX(each) SPARSENET_FOUR(each) each(4) each(5)
#define SPARSENET_GATHER(pixels)                                         \
  if (!s.scale) {                                                        \
    for (; n > 0; --n, to += column) {                                   \
      pixels(SPARSENET_COPY)                                             \
    }                                                                    \
  } else {                                                               \
    const Real *scales = s.scale + channel, *shifts = s.shift + channel; \
    const float low = s.low, high = s.high;                              \
    if (high == INFINITY) {                                              \
      for (; n > 0; --n, to += column) {                                 \
        const float scale = *scales++, shift = *shifts++;                \
        pixels(SPARSENET_RELU)                                           \
      }                                                                  \
    } else {                                                             \
      for (; n > 0; --n, to += column) {                                 \
        const float scale = *scales++, shift = *shifts++;                \
        pixels(SPARSENET_AFFINE)                                         \
      }                                                                  \
    }                                                                    \
  }

template <class Real>
void gather_four(const Input<Real>& s, const float* x0, int32_t stride, int32_t channel, int32_t n, float* to,
                 int32_t column) {
  const float *x1 = x0 + stride, *x2 = x1 + stride, *x3 = x2 + stride;
  SPARSENET_GATHER(SPARSENET_FOUR)
}

template <class Real>
void gather_six(const Input<Real>& s, const float* x0, int32_t stride, int32_t channel, int32_t n, float* to,
                int32_t column) {
  const float *x1 = x0 + stride, *x2 = x1 + stride, *x3 = x2 + stride, *x4 = x3 + stride, *x5 = x4 + stride;
  SPARSENET_GATHER(SPARSENET_SIX)
}

#undef SPARSENET_GATHER
#undef SPARSENET_SIX
#undef SPARSENET_FOUR
#undef SPARSENET_RELU
#undef SPARSENET_AFFINE
#undef SPARSENET_COPY

// Gathers one pixel, which is zero outside of the image.
template <class Real>
void gather_one(const State<Real>& s, bool inside, int64_t pixel, float* to, int32_t column) {
  if (inside) {
    for_each_channel(s.in, pixel, [&](int32_t, float value) {
      *to = value;
      to += column;
    });
  } else {
    for (int32_t c = 0; c < s.in.channels; ++c, to += column) *to = 0.f;
  }
}

// Gathers what the output pixels from (oy, ox) on read.
template <class Real>
void gather(const State<Real>& s, int64_t image, int32_t oy, int32_t ox, float* patch) {
  const int32_t width = s.patch_w, column = s.kernel_h * width, left = ox * s.stride_w - s.pad_left;
  const bool whole = left >= 0 && left + width <= s.in_w && (width == 4 || width == 6);
  for (int32_t ky = 0; ky < s.kernel_h; ++ky, patch += width) {
    const int32_t y = oy * s.stride_h - s.pad_top + ky * s.dilation_h;
    const bool inside = y >= 0 && y < s.in_h;
    const int64_t pixel = (image * s.in_h + y) * s.in_w + left;
    if (inside && whole) {
      int32_t channel = 0;
      for (int32_t r = 0; r < s.in.count; ++r) {
        const Range& range = s.in.ranges[r];
        (width == 4 ? gather_four<Real> : gather_six<Real>)(s.in, range.base + pixel * range.pixel_stride,
                                                            range.pixel_stride, channel, range.channels,
                                                            patch + channel * column, column);
        channel += range.channels;
      }
      continue;
    }
    for (int32_t i = 0; i < width; ++i) {
      gather_one(s, inside && left + i >= 0 && left + i < s.in_w, pixel + i, patch + i, column);
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
  s[0] = a00, s[1] = a01, s[2] = a02, s[3] = a03;   \
  s[4] = a10, s[5] = a11, s[6] = a12, s[7] = a13;   \
  s[8] = a20, s[9] = a21, s[10] = a22, s[11] = a23; \
  s[12] = a30, s[13] = a31, s[14] = a32, s[15] = a33;

#if defined(SPARSENET_ARM_TILES)
using compact::sums_1x1;  // those of tile_arm.h
using compact::sums_3x3;
#endif

// The sums of a tile over n inputs of a 1x1 kernel; x: [n][4]; w: four rows of weights, `row` apart.
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

// The same for n inputs of a 3x3 kernel, stride and dilation 1; x: [n][3][6].
template <class Real>
void sums_3x3(const Real* w, const Real* b, ptrdiff_t row, const float* x, int32_t n, float* sums) {
  float a00 = b[0], a01 = a00, a02 = a00, a03 = a00, a10 = b[1], a11 = a10, a12 = a10, a13 = a10;
  float a20 = b[2], a21 = a20, a22 = a20, a23 = a20, a30 = b[3], a31 = a30, a32 = a30, a33 = a30;
  const Real *v0 = w, *v1 = v0 + row, *v2 = v1 + row, *v3 = v2 + row;
  for (n *= 3; n > 0; --n, x += 6, v0 += 3, v1 += 3, v2 += 3, v3 += 3) {
    SPARSENET_TAP(v0[0], v1[0], v2[0], v3[0], x[0], x[1], x[2], x[3])
    SPARSENET_TAP(v0[1], v1[1], v2[1], v3[1], x[1], x[2], x[3], x[4])
    SPARSENET_TAP(v0[2], v1[2], v2[2], v3[2], x[2], x[3], x[4], x[5])
  }
  SPARSENET_STORE(sums)
}

// The same for any kernel size, stride and dilation.
template <class Real>
void sums_any(const State<Real>& s, const Real* w, const Real* b, ptrdiff_t row, const float* x, float* sums) {
  float a00 = b[0], a01 = a00, a02 = a00, a03 = a00, a10 = b[1], a11 = a10, a12 = a10, a13 = a10;
  float a20 = b[2], a21 = a20, a22 = a20, a23 = a20, a30 = b[3], a31 = a30, a32 = a30, a33 = a30;
  const Real *v0 = w, *v1 = v0 + row, *v2 = v1 + row, *v3 = v2 + row;
  const int32_t stride = s.stride_w;
  for (int32_t n = s.in.channels * s.kernel_h; n > 0; --n, x += s.patch_w) {
    for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
      const float* from = x + kx * s.dilation_w;
      SPARSENET_TAP(*v0++, *v1++, *v2++, *v3++, from[0], from[stride], from[2 * stride], from[3 * stride])
    }
  }
  SPARSENET_STORE(sums)
}

#undef SPARSENET_STORE
#undef SPARSENET_TAP

// Applies the bounds to a tile's sums and stores them in the output.
__attribute__((noinline)) void store_tile(const float* sums, float low, float high, float* out, ptrdiff_t stride) {
  for (int32_t p = 0; p < kPixels; ++p, ++sums, out += stride) {
    float v0 = sums[0], v1 = sums[4], v2 = sums[8], v3 = sums[12];
    if (low != -INFINITY) {
      v0 = v0 < low ? low : v0, v1 = v1 < low ? low : v1;
      v2 = v2 < low ? low : v2, v3 = v3 < low ? low : v3;
    }
    if (high != INFINITY) {
      v0 = v0 > high ? high : v0, v1 = v1 > high ? high : v1;
      v2 = v2 > high ? high : v2, v3 = v3 > high ? high : v3;
    }
    out[0] = v0, out[1] = v1, out[2] = v2, out[3] = v3;
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

template <class Real>
void run(const void* state, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State<Real>*>(state);
  auto* patch = static_cast<float*>(scratch);
  const int32_t oy = chunk % s.out_h, inputs = s.in.channels;
  const int64_t image = chunk / s.out_h;
  const ptrdiff_t row = ptrdiff_t{inputs} * s.kernel_h * s.kernel_w;
  const bool is_1x1 = s.kernel_h == 1 && s.kernel_w == 1 && s.patch_w == kPixels;
  const bool is_3x3 = s.kernel_h == 3 && s.kernel_w == 3 && s.patch_w == kPixels + 2 && s.dilation_w == 1;
  const bool direct = !s.residual.base && s.act.kind == Act::kClamp;
  for (int32_t ox = 0; ox < s.out_w; ox += kPixels) {
    gather(s, image, oy, ox, patch);
    const int64_t pixel = int64_t{chunk} * s.out_w + ox;
    const int32_t pixels = s.out_w - ox < kPixels ? s.out_w - ox : kPixels;
    int32_t o = 0;
    const Real* w = s.weight;
    for (; pixels == kPixels && o + kOutputs <= s.outputs; o += kOutputs, w += kOutputs * row) {
      float sums[kOutputs * kPixels];
      const Real* bias = s.bias ? s.bias + o : kNoBias<Real>;
      if (is_1x1) {
        sums_1x1(w, bias, row, patch, inputs, sums);
      } else if (is_3x3) {
        sums_3x3(w, bias, row, patch, inputs, sums);
      } else {
        sums_any(s, w, bias, row, patch, sums);
      }
      if (direct) {
        store_tile(sums, s.act.low, s.act.high, s.out.base + pixel * s.out.pixel_stride + o, s.out.pixel_stride);
      } else {
        for (int32_t i = 0; i < kOutputs * kPixels; ++i) finish(s, pixel + i % kPixels, o + i / kPixels, sums[i]);
      }
    }
    for (; o < s.outputs; ++o, w += row) {
      const float bias = s.bias ? static_cast<float>(s.bias[o]) : 0.f;
      for (int32_t p = 0; p < pixels; ++p) finish(s, pixel + p, o, single(s, w, patch + p * s.stride_w, bias));
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

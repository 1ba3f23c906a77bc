// Convolution and fully connected layers with weights in the order in which the model stores them, [out][in][kh][kw].
//
// Four pixels of an output row are computed at a time. What they read, kh rows of 3 * stride + (kw - 1) * dilation + 1
// pixels, or only every stride-th pixel if the kernel is one pixel wide, is gathered into scratch as [in][kh][pixels],
// with the affine, the bounds and the padding applied; then four outputs at a time run through it: 16 sums in
// registers, 8 loads for 16 multiply-adds (1x1), 18 or 21 for 48 (3x3 with stride 1 or 2), fewer where one instruction
// loads several floats (tile_arm.h).
#include "kernels/compact/gather.h"

#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && defined(__ARM_FEATURE_FMA) && defined(__ARM_FP)
#define SPARSENET_ARM_TILES
#include "kernels/compact/tile_arm.h"
#endif

namespace sparsenet::rt::compact {
namespace {

constexpr int32_t kPixels = 4, kOutputs = 4;

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
  needs->state_bytes = sizeof(Conv<Real>) + ranges_bytes(s.in);
  needs->scratch_bytes = static_cast<uint64_t>(s.in.c) * static_cast<uint64_t>(s.window.kernel_h) *
                         static_cast<uint64_t>(patch_width(s)) * sizeof(float);
  needs->chunks = s.out.n * s.out.h;
}

template <class Real>
const char* prepare(const Step& s, const Place& place) {
  auto* state = static_cast<Conv<Real>*>(place.state);
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
// sums: [pixel][output]. Returns where the next four rows begin.
template <class Real>
const Real* sums_1x1(const Real* w, const Real* b, ptrdiff_t row, const float* x, int32_t n, float* sums) {
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
  return v3;
}

// The same for n inputs of a 3x3 kernel, dilation 1; x: [n][3][3 * stride + 3].
template <int32_t kStride, class Real>
const Real* sums_3x3(const Real* w, const Real* b, ptrdiff_t row, const float* x, int32_t n, float* sums) {
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
  return v3;
}

// The same for any kernel size, stride and dilation.
template <class Real>
const Real* sums_any(const Conv<Real>& s, const Real* w, const Real* b, ptrdiff_t row, const float* x, float* sums) {
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
  return v3;
}

#undef SPARSENET_STORE
#undef SPARSENET_TAP

// Adds the residual, if there is one, to a tile's sums, applies the bounds, and stores them in the output.
#if !defined(SPARSENET_ARM_TILES)
void store_tile(const float* sums, const Finish& how, const float* residual, float* out) {
  const float low = how.low, high = how.high;
  for (int32_t p = 0; p < kPixels; ++p, sums += kOutputs, out += how.out_stride) {
    float v0 = sums[0], v1 = sums[1], v2 = sums[2], v3 = sums[3];
    if (residual) {
      v0 += residual[0], v1 += residual[1], v2 += residual[2], v3 += residual[3];
      residual += how.residual_stride;
    }
    if (how.has_low) {
      v0 = v0 < low ? low : v0, v1 = v1 < low ? low : v1;
      v2 = v2 < low ? low : v2, v3 = v3 < low ? low : v3;
    }
    if (how.has_high) {
      v0 = v0 > high ? high : v0, v1 = v1 > high ? high : v1;
      v2 = v2 > high ? high : v2, v3 = v3 > high ? high : v3;
    }
    out[0] = v0, out[1] = v1, out[2] = v2, out[3] = v3;
  }
}
#endif

// One output at one pixel, for what is left at the edges and for fully connected layers.
template <class Real>
float single(const Conv<Real>& s, const Real* w, const float* x, float sum) {
  for (int32_t n = s.in.channels * s.kernel_h; n > 0; --n, x += s.patch_w) {
    for (int32_t kx = 0; kx < s.kernel_w; ++kx) sum += *w++ * x[kx * s.dilation_w];
  }
  return sum;
}

template <class Real>
void finish(const Conv<Real>& s, int64_t pixel, int32_t output, float sum) {
  if (s.residual.base) sum += s.residual.base[pixel * s.residual.pixel_stride + output];
  s.out.base[pixel * s.out.pixel_stride + output] = activate_one(sum, s.act);
}

template <class Real>
constexpr Real kNoBias[kOutputs] = {};

// How a step's tiles are computed.
struct Tiling {
  enum { kAny, k1x1, k3x3, k3x3Stride2 } kernel;
  ptrdiff_t row;  // weights of an output
  Finish how;
};

template <class Real>
Tiling tiling_of(const Conv<Real>& s) {
  Tiling t{Tiling::kAny,
           ptrdiff_t{s.in.channels} * s.kernel_h * s.kernel_w,
           {s.act.low, s.act.high, s.act.low != -INFINITY, s.act.high != INFINITY, s.residual.pixel_stride,
            s.out.pixel_stride}};
  if (s.kernel_h == 1 && s.kernel_w == 1) {
    t.kernel = Tiling::k1x1;
  } else if (s.kernel_h == 3 && s.kernel_w == 3 && s.dilation_w == 1 && s.stride_w <= 2) {
    t.kernel = s.stride_w == 1 ? Tiling::k3x3 : Tiling::k3x3Stride2;
  }
  return t;
}

// Four outputs at a time, of four pixels; returns how many outputs are done.
template <class Real>
__attribute__((noinline)) int32_t run_tiles(const Conv<Real>& s, const Tiling& t, int64_t pixel, const float* patch) {
  const int32_t inputs = s.in.channels, bias_step = s.bias ? kOutputs : 0;
  const ptrdiff_t row = t.row;
  const Real *w = s.weight, *bias = s.bias ? s.bias : kNoBias<Real>;
  const float* residual = s.residual.base ? s.residual.base + pixel * s.residual.pixel_stride : nullptr;
  float* const first = s.out.base + pixel * s.out.pixel_stride;
  const int32_t outputs = s.outputs & ~(kOutputs - 1);
  for (float* out = first; out != first + outputs; out += kOutputs, bias += bias_step) {
    float sums[kOutputs * kPixels];
    if (t.kernel == Tiling::k1x1) {
      w = sums_1x1(w, bias, row, patch, inputs, sums);
    } else if (t.kernel == Tiling::k3x3) {
      w = sums_3x3<1>(w, bias, row, patch, inputs, sums);
    } else if (t.kernel == Tiling::k3x3Stride2) {
      w = sums_3x3<2>(w, bias, row, patch, inputs, sums);
    } else {
      w = sums_any(s, w, bias, row, patch, sums);
    }
    if (s.act.kind == Act::kClamp) {
      store_tile(sums, t.how, residual, out);
      if (residual) residual += kOutputs;
    } else {
      const auto o = static_cast<int32_t>(out - first);
      for (int32_t i = 0; i < kOutputs * kPixels; ++i) finish(s, pixel + i / kOutputs, o + i % kOutputs, sums[i]);
    }
  }
  return outputs;
}

template <class Real>
void run(const void* state, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const Conv<Real>*>(state);
  auto* patch = static_cast<float*>(scratch);
  const int32_t oy = chunk % s.out_h;
  const int64_t image = chunk / s.out_h;
  const Tiling tiling = tiling_of(s);
  for (int32_t ox = 0; ox < s.out_w; ox += kPixels) {
    gather(s, image, oy, ox, patch);
    const int64_t pixel = int64_t{chunk} * s.out_w + ox;
    const int32_t pixels = s.out_w - ox < kPixels ? s.out_w - ox : kPixels;
    for (int32_t o = pixels == kPixels ? run_tiles(s, tiling, pixel, patch) : 0; o < s.outputs; ++o) {
      const float bias = s.bias ? static_cast<float>(s.bias[o]) : 0.f;
      for (int32_t p = 0; p < pixels; ++p) {
        finish(s, pixel + p, o, single(s, s.weight + o * tiling.row, patch + p * next_of(s), bias));
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

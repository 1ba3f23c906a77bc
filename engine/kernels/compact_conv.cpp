// Convolution and fully connected layers with the weights as the model stores them, [out][in][kh][kw].
//
// Four pixels of an output row are computed at a time. What they read, kh rows of 3 * stride + (kw - 1) * dilation + 1
// pixels, is gathered into scratch as [in][kh][pixels], with the affine, the bounds and the padding applied; then four
// outputs at a time run through it: 16 sums in registers, 8 loads for 16 multiply-adds (1x1), 54 for 144 (3x3).
#include "kernels/compact.h"

namespace sparsenet::rt::compact {
namespace {

constexpr int32_t kPixels = 4, kOutputs = 4;

struct State {
  Input in;
  Dense out, residual;
  Act act;
  const float *weight, *bias;
  int32_t in_h, in_w, out_h, out_w, outputs;
  int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int32_t patch_w;  // pixels of a gathered row
};

int32_t patch_width(const Step& s) {
  return (kPixels - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1;
}

bool supports(const Step& s) {
  return s.op == StepOp::kConv && s.groups == 1 && !s.weight_transposed && is_dense(s.out) &&
         (s.in2.segment_count == 0 || is_dense(s.in2));
}

void query(const Step& s, KernelNeeds* needs) {
  *needs = {};
  needs->state_bytes = sizeof(State) + ranges_bytes(s.in);
  needs->scratch_bytes = static_cast<size_t>(s.in.c) * static_cast<size_t>(s.kernel_h) *
                         static_cast<size_t>(patch_width(s)) * sizeof(float);
  needs->chunks = s.out.n * s.out.h;
}

const char* prepare(const Step& s, const Place& place) {
  auto* state = static_cast<State*>(place.state);
  auto* ranges = reinterpret_cast<Range*>(state + 1);
  *state = {make_input(s, place.arena, ranges),
            make_dense(s.out, place.arena),
            make_dense(s.in2, place.arena),
            s.act,
            s.weight,
            s.bias,
            s.in.h,
            s.in.w,
            s.out.h,
            s.out.w,
            s.out.c,
            s.kernel_h,
            s.kernel_w,
            s.stride_h,
            s.stride_w,
            s.dilation_h,
            s.dilation_w,
            s.pad_top,
            s.pad_left,
            patch_width(s)};
  return nullptr;
}

// What the pixels from (oy, ox) on read.
void gather(const State& s, int64_t image, int32_t oy, int32_t ox, float* patch) {
  const int32_t width = s.patch_w, column = s.kernel_h * width;
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    const int32_t y = oy * s.stride_h - s.pad_top + ky * s.dilation_h;
    for (int32_t i = 0; i < width; ++i) {
      const int32_t x = ox * s.stride_w - s.pad_left + i;
      float* to = patch + ky * width + i;
      if (y < 0 || y >= s.in_h || x < 0 || x >= s.in_w) {
        for (int32_t c = 0; c < s.in.channels; ++c, to += column) *to = 0.f;
      } else {
        for_each_channel(s.in, (image * s.in_h + y) * s.in_w + x, [&](int32_t, float value) {
          *to = value;
          to += column;
        });
      }
    }
  }
}

// acc[output][pixel] of 4 x 4; 0 <= t: the tap's weights and values.
struct Sums {
  float a00, a01, a02, a03, a10, a11, a12, a13, a20, a21, a22, a23, a30, a31, a32, a33;
};

#define SPARSENET_TAP(w0, w1, w2, w3, x0, x1, x2, x3)               \
  {                                                                 \
    const float p0 = x0, p1 = x1, p2 = x2, p3 = x3;                 \
    const float u0 = w0, u1 = w1, u2 = w2, u3 = w3;                 \
    a00 += u0 * p0, a01 += u0 * p1, a02 += u0 * p2, a03 += u0 * p3; \
    a10 += u1 * p0, a11 += u1 * p1, a12 += u1 * p2, a13 += u1 * p3; \
    a20 += u2 * p0, a21 += u2 * p1, a22 += u2 * p2, a23 += u2 * p3; \
    a30 += u3 * p0, a31 += u3 * p1, a32 += u3 * p2, a33 += u3 * p3; \
  }

// n inputs of a 1x1 kernel; x: [n][4]; w: four rows of weights, `row` apart.
void tile_1x1(const float* w, ptrdiff_t row, const float* x, int32_t n, float* sums) {
  float a00 = 0, a01 = 0, a02 = 0, a03 = 0, a10 = 0, a11 = 0, a12 = 0, a13 = 0;
  float a20 = 0, a21 = 0, a22 = 0, a23 = 0, a30 = 0, a31 = 0, a32 = 0, a33 = 0;
  const float *v0 = w, *v1 = v0 + row, *v2 = v1 + row, *v3 = v2 + row;
  for (; n >= 2; n -= 2, x += 8, v0 += 2, v1 += 2, v2 += 2, v3 += 2) {
    SPARSENET_TAP(v0[0], v1[0], v2[0], v3[0], x[0], x[1], x[2], x[3])
    SPARSENET_TAP(v0[1], v1[1], v2[1], v3[1], x[4], x[5], x[6], x[7])
  }
  if (n > 0) SPARSENET_TAP(v0[0], v1[0], v2[0], v3[0], x[0], x[1], x[2], x[3])
  const Sums all = {a00, a01, a02, a03, a10, a11, a12, a13, a20, a21, a22, a23, a30, a31, a32, a33};
  memcpy(sums, &all, sizeof all);
}

// n inputs of a 3x3 kernel, stride and dilation 1; x: [n][3][6].
void tile_3x3(const float* w, ptrdiff_t row, const float* x, int32_t n, float* sums) {
  float a00 = 0, a01 = 0, a02 = 0, a03 = 0, a10 = 0, a11 = 0, a12 = 0, a13 = 0;
  float a20 = 0, a21 = 0, a22 = 0, a23 = 0, a30 = 0, a31 = 0, a32 = 0, a33 = 0;
  const float *v0 = w, *v1 = v0 + row, *v2 = v1 + row, *v3 = v2 + row;
  for (n *= 3; n > 0; --n, x += 6, v0 += 3, v1 += 3, v2 += 3, v3 += 3) {
    SPARSENET_TAP(v0[0], v1[0], v2[0], v3[0], x[0], x[1], x[2], x[3])
    SPARSENET_TAP(v0[1], v1[1], v2[1], v3[1], x[1], x[2], x[3], x[4])
    SPARSENET_TAP(v0[2], v1[2], v2[2], v3[2], x[2], x[3], x[4], x[5])
  }
  const Sums all = {a00, a01, a02, a03, a10, a11, a12, a13, a20, a21, a22, a23, a30, a31, a32, a33};
  memcpy(sums, &all, sizeof all);
}

// Any kernel.
void tile_any(const State& s, const float* w, ptrdiff_t row, const float* x, float* sums) {
  float a00 = 0, a01 = 0, a02 = 0, a03 = 0, a10 = 0, a11 = 0, a12 = 0, a13 = 0;
  float a20 = 0, a21 = 0, a22 = 0, a23 = 0, a30 = 0, a31 = 0, a32 = 0, a33 = 0;
  const float *v0 = w, *v1 = v0 + row, *v2 = v1 + row, *v3 = v2 + row;
  const int32_t stride = s.stride_w;
  for (int32_t n = s.in.channels * s.kernel_h; n > 0; --n, x += s.patch_w) {
    for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
      const float* t = x + kx * s.dilation_w;
      SPARSENET_TAP(*v0++, *v1++, *v2++, *v3++, t[0], t[stride], t[2 * stride], t[3 * stride])
    }
  }
  const Sums all = {a00, a01, a02, a03, a10, a11, a12, a13, a20, a21, a22, a23, a30, a31, a32, a33};
  memcpy(sums, &all, sizeof all);
}

#undef SPARSENET_TAP

// One output at one pixel: what is left at the edges, and fully connected layers.
float single(const State& s, const float* w, const float* x) {
  float sum = 0;
  for (int32_t n = s.in.channels * s.kernel_h; n > 0; --n, x += s.patch_w) {
    for (int32_t kx = 0; kx < s.kernel_w; ++kx) sum += *w++ * x[kx * s.dilation_w];
  }
  return sum;
}

void finish(const State& s, int64_t pixel, int32_t output, float sum) {
  if (s.bias) sum += s.bias[output];
  if (s.residual.base) sum += s.residual.base[pixel * s.residual.pixel_stride + output];
  s.out.base[pixel * s.out.pixel_stride + output] = activate(sum, s.act);
}

void run(const void* state, int32_t chunk, void* scratch) {
  const State& s = *static_cast<const State*>(state);
  auto* patch = static_cast<float*>(scratch);
  const int32_t oy = chunk % s.out_h, inputs = s.in.channels;
  const int64_t image = chunk / s.out_h;
  const ptrdiff_t row = ptrdiff_t{inputs} * s.kernel_h * s.kernel_w;
  const bool is_1x1 = s.kernel_h == 1 && s.kernel_w == 1 && s.patch_w == kPixels;
  const bool is_3x3 = s.kernel_h == 3 && s.kernel_w == 3 && s.patch_w == kPixels + 2 && s.dilation_w == 1;
  for (int32_t ox = 0; ox < s.out_w; ox += kPixels) {
    gather(s, image, oy, ox, patch);
    const int64_t pixel = int64_t{chunk} * s.out_w + ox;
    const int32_t pixels = s.out_w - ox < kPixels ? s.out_w - ox : kPixels;
    int32_t o = 0;
    const float* w = s.weight;
    for (; pixels == kPixels && o + kOutputs <= s.outputs; o += kOutputs, w += kOutputs * row) {
      float sums[kOutputs * kPixels];
      if (is_1x1) {
        tile_1x1(w, row, patch, inputs, sums);
      } else if (is_3x3) {
        tile_3x3(w, row, patch, inputs, sums);
      } else {
        tile_any(s, w, row, patch, sums);
      }
      for (int32_t i = 0; i < kOutputs * kPixels; ++i) {
        finish(s, pixel + i % kPixels, o + i / kPixels, sums[i]);
      }
    }
    for (; o < s.outputs; ++o, w += row) {
      for (int32_t p = 0; p < pixels; ++p) finish(s, pixel + p, o, single(s, w, patch + p * s.stride_w));
    }
  }
}

}  // namespace

const Kernel kConv = {"conv2d_f32_compact", "portable", supports, query, prepare, run, nullptr, false};

}  // namespace sparsenet::rt::compact

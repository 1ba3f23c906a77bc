// Depthwise convolution: one filter per channel. Vectors run along the channels; the input is read in place, and
// padding is skipped.
#include "kernels/portable/gemm.h"
#include "kernels/portable/portable.h"
#include "kernels/portable/source.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

struct State {
  const float* x;
  Parameters parameters;
  float* weights;  // [tap][c padded]
  float* bias;
  float* out;
  const float* residual;
  ptrdiff_t x_stride, out_stride, residual_stride, padded;
  Act act;
  int32_t h, w, c, oh, ow, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, rows,
      bands;
};

int padded_channels(const Step& s) {
  return ceil_div(s.in.c, kLanes) * kLanes;
}
int rows_of(const Step& s) {
  return imax(1, imin(64 / imax(s.out.w, 1), s.out.h / 4));
}
int64_t bands_of(const Step& s) {
  return int64_t{s.out.n} * ceil_div(s.out.h, rows_of(s));
}

bool supports(const Step& s) {
  return s.op == StepOp::kConv && s.conv.groups > 1 && s.conv.groups == s.in.c && s.conv.groups == s.out.c &&
         s.in.segment_count == 1 && !s.affine.scale && s.out.segment_count == 1 && s.in2.segment_count <= 1 &&
         !s.in.segments[0].constant && bands_of(s) < 65000;
}

void query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(State);
  needs->weight_bytes =
      static_cast<uint64_t>(padded_channels(s)) * static_cast<uint64_t>(s.window.kernel_h * s.window.kernel_w + 1) * 4;
  needs->scratch_bytes = 0;
  needs->chunks = static_cast<int32_t>(bands_of(s));
}

void refresh(const void* memory, int32_t part, int32_t) {
  if (part != 0) return;
  const auto& s = *static_cast<const State*>(memory);
  const Parameters& p = s.parameters;
  for (int c = 0; c < s.c; ++c) {
    const float* w = p.weight + ptrdiff_t{c} * p.taps + p.first;
    for (int t = 0; t < p.taps; ++t) s.weights[t * s.padded + c] = w[t * p.tap];
    s.bias[c] = p.bias ? p.bias[c] : 0.f;
  }
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  s->padded = padded_channels(step);
  s->parameters = parameters_of(step);
  s->weights = place.weights;
  s->bias = place.weights + step.window.kernel_h * step.window.kernel_w * s->padded;
  s->c = step.in.c;
  refresh(s, 0, 1);
  s->x = dense_pointer(step.in, place.arena);
  s->out = dense_pointer(step.out, place.arena);
  s->residual = dense_pointer(step.in2, place.arena);
  s->x_stride = step.in.segments[0].pixel_stride;
  s->out_stride = step.out.segments[0].pixel_stride;
  s->residual_stride = s->residual ? step.in2.segments[0].pixel_stride : 0;
  s->act = step.act;
  s->h = step.in.h;
  s->w = step.in.w;
  s->oh = step.out.h;
  s->ow = step.out.w;
  s->kernel_h = step.window.kernel_h;
  s->kernel_w = step.window.kernel_w;
  s->stride_h = step.window.stride_h;
  s->stride_w = step.window.stride_w;
  s->dilation_h = step.window.dilation_h;
  s->dilation_w = step.window.dilation_w;
  s->pad_top = step.window.pad_top;
  s->pad_left = step.window.pad_left;
  s->rows = rows_of(step);
  s->bands = ceil_div(s->oh, s->rows);
  return nullptr;
}

SPARSENET_INLINE void pixel(const State& s, int image, int oy, int ox, int c, int lanes) {
  V acc = load(s.bias + c);
  for (int ky = 0; ky < s.kernel_h; ++ky) {
    const int y = oy * s.stride_h - s.pad_top + ky * s.dilation_h;
    if (y < 0 || y >= s.h) continue;
    for (int kx = 0; kx < s.kernel_w; ++kx) {
      const int x = ox * s.stride_w - s.pad_left + kx * s.dilation_w;
      if (x < 0 || x >= s.w) continue;
      acc += load_first(s.x + ((ptrdiff_t{image} * s.h + y) * s.w + x) * s.x_stride + c, lanes) *
             load(s.weights + (ky * s.kernel_w + kx) * s.padded + c);
    }
  }
  const ptrdiff_t p = (ptrdiff_t{image} * s.oh + oy) * s.ow + ox;
  if (s.residual) acc += load_first(s.residual + p * s.residual_stride + c, lanes);
  store_first(s.out + p * s.out_stride + c, activate(acc, s.act), lanes);
}

// Four neighbouring pixels at once, which share the loads of the weights; for pixels that no padding reaches.
SPARSENET_INLINE void quad(const State& s, int image, int oy, int ox, int c) {
  V acc[4];
  for (int p = 0; p < 4; ++p) acc[p] = load(s.bias + c);
  const ptrdiff_t step = s.stride_w * s.x_stride;
  const float* base =
      s.x + ((ptrdiff_t{image} * s.h + oy * s.stride_h - s.pad_top) * s.w + ox * s.stride_w - s.pad_left) * s.x_stride +
      c;
  for (int ky = 0; ky < s.kernel_h; ++ky) {
    for (int kx = 0; kx < s.kernel_w; ++kx) {
      const V w = load(s.weights + (ky * s.kernel_w + kx) * s.padded + c);
      const float* x = base + (ptrdiff_t{ky} * s.dilation_h * s.w + kx * s.dilation_w) * s.x_stride;
#pragma GCC unroll 4
      for (int p = 0; p < 4; ++p) acc[p] += load(x + p * step) * w;
    }
  }
  const ptrdiff_t p0 = (ptrdiff_t{image} * s.oh + oy) * s.ow + ox;
  for (int p = 0; p < 4; ++p) {
    if (s.residual) acc[p] += load(s.residual + (p0 + p) * s.residual_stride + c);
    store(s.out + (p0 + p) * s.out_stride + c, activate(acc[p], s.act));
  }
}

void run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const int image = chunk / s.bands;
  const int first = chunk % s.bands * s.rows;
  const int last = imin(first + s.rows, s.oh);
  const int reach_w = (s.kernel_w - 1) * s.dilation_w, reach_h = (s.kernel_h - 1) * s.dilation_h;
  for (int oy = first; oy < last; ++oy) {
    const int y0 = oy * s.stride_h - s.pad_top;
    const bool rows_inside = y0 >= 0 && y0 + reach_h < s.h;
    for (int c = 0; c < s.c; c += kLanes) {
      const int lanes = imin(kLanes, s.c - c);
      for (int ox = 0; ox < s.ow;) {
        const int x0 = ox * s.stride_w - s.pad_left;
        if (rows_inside && lanes == kLanes && ox + 4 <= s.ow && x0 >= 0 && x0 + 3 * s.stride_w + reach_w < s.w) {
          quad(s, image, oy, ox, c);
          ox += 4;
        } else {
          pixel(s, image, oy, ox, c, lanes);
          ++ox;
        }
      }
    }
  }
}

}  // namespace

const Kernel kConvDepthwise = {
    .name = "conv2d_depthwise_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .refresh = refresh,
    .copies_parameters = true,
};

}  // namespace sparsenet::rt::SPARSENET_ISA

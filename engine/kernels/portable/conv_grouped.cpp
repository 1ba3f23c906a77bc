// Grouped convolution with groups smaller than a vector: G inputs and G outputs each, where G divides the vector's
// lanes. A vector of outputs belongs to several groups, and its lanes need different inputs: lane l, for the group's
// input i, the channel l / G * G + i. A chunk gathers each vector of inputs once in every such arrangement, G copies,
// and all taps read those.
#include "kernels/portable/gemm.h"
#include "kernels/portable/panel.h"
#include "kernels/portable/portable.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

constexpr int kPixels = 8;  // neighbouring pixels that are computed at once

struct State {
  Source source;
  Parameters parameters;
  float* weights;  // [vector of channels][tap][input of the group][kLanes]
  float* bias;
  float* out;
  const float* residual;
  ptrdiff_t out_stride, residual_stride;
  Act act;
  int32_t group, c, h, w, oh, ow, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int32_t rows, bands, vectors;  // output rows per band; bands; vectors of channels
  int32_t width, ring;           // pixels of a gathered row; rows of the ring
};

int rows_of(const Step& s) {
  return imax(1, imin(256 / imax(s.out.w, 1), s.out.h));
}
int bands_of(const Step& s) {
  return ceil_div(s.out.h, rows_of(s));
}
// Pixels of a gathered row, and rows of the ring.
int width_of(const Step& s) {
  return (kPixels - 1) * s.window.stride_w + (s.window.kernel_w - 1) * s.window.dilation_w + 1;
}
int ring_of(const Step& s) {
  return (s.window.kernel_h - 1) * s.window.dilation_h + 1;
}
int64_t gathered_pixels(const Step& s) {
  return int64_t{ring_of(s)} * width_of(s);
}
int vectors_of(const Step& s) {
  return ceil_div(s.in.c, kLanes);
}

bool supports(const Step& s) {
  if (s.op != StepOp::kConv || s.in.c != s.out.c || s.out.segment_count != 1 || s.in2.segment_count > 1) return false;
  const int group = s.in.c / s.conv.groups;
  return (group == 2 || group == 4 || group == 8) && group < kLanes &&
         gathered_pixels(s) * group * kLanes < kMostElements && int64_t{s.out.n} * bands_of(s) * vectors_of(s) < 65000;
}

void query(const Step& s, KernelNeeds* needs) {
  const auto group = static_cast<uint64_t>(s.in.c / s.conv.groups);
  const auto padded = static_cast<uint64_t>(vectors_of(s)) * kLanes;
  needs->state_bytes = sizeof(State) + source_bytes(s.in);
  needs->weight_bytes = padded * (group * static_cast<uint64_t>(s.window.kernel_h * s.window.kernel_w) + 1) * 4;
  needs->scratch_bytes = (static_cast<uint64_t>(gathered_pixels(s)) * group * kLanes +
                          static_cast<uint64_t>(width_of(s)) * kPanelChannels) *
                         4;
  needs->chunks = s.out.n * bands_of(s) * vectors_of(s);
}

void refresh(const void* memory, int32_t part, int32_t) {
  if (part != 0) return;
  const auto& s = *static_cast<const State*>(memory);
  const Parameters& p = s.parameters;
  for (int c = 0; c < s.c; ++c) {
    const int g = c / s.group, o = c % s.group;
    const float* w = p.weight + ptrdiff_t{g} * p.outputs * p.inputs * p.taps + p.first + o * p.out;
    float* to = s.weights + ptrdiff_t{c / kLanes} * p.taps * s.group * kLanes + c % kLanes;
    for (int t = 0; t < p.taps; ++t) {
      for (int i = 0; i < s.group; ++i) to[(t * s.group + i) * kLanes] = w[i * p.in + t * p.tap];
    }
    s.bias[c] = p.bias ? p.bias[c] : 0.f;
  }
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  s->source = make_source(step, place.arena, s + 1);
  s->parameters = parameters_of(step);
  s->group = step.in.c / step.conv.groups;
  s->c = step.in.c;
  s->vectors = vectors_of(step);
  s->weights = place.weights;
  s->bias = place.weights + ptrdiff_t{s->vectors} * kLanes * s->group * s->parameters.taps;
  refresh(s, 0, 1);
  s->out = dense_pointer(step.out, place.arena);
  s->residual = dense_pointer(step.in2, place.arena);
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
  s->bands = bands_of(step);
  s->width = width_of(step);
  s->ring = ring_of(step);
  return nullptr;
}

// Gathers `width` pixels, from column x on, of the channels [c, end) of an input row in all G arrangements:
// [pixel][arrangement][kLanes].
template <int G>
void gather_row(const State& s, int image, int y, int x, int width, int c, int end, float* line, float* to) {
  if (y < 0 || y >= s.h) {
    memset(to, 0, static_cast<size_t>(width) * G * kLanes * sizeof(float));
    return;
  }
  const Axis row{1, 1, 0, 1, 1}, columns{s.w, 1, -x, 1, width};
  fill_row(s.source, make_panel(row, columns), (int64_t{image} * s.h + y) * s.w, 0, c, end, line);
  static const int32_t kLane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  VInt lane;
  memcpy(&lane, kLane, sizeof(lane));
  VInt index[G];
#pragma GCC unroll 8
  for (int i = 0; i < G; ++i) index[i] = (lane & -G) + i;
  for (int p = 0; p < width; ++p, line += kPanelChannels, to += G * kLanes) {
    const V v = load(line);
#pragma GCC unroll 8
    for (int i = 0; i < G; ++i) store(to + i * kLanes, permute(v, index[i]));
  }
}

// Q neighbouring outputs. `line` is the place in the ring of the first row that they read.
template <int G, int Q>
void pixels(const State& s, const float* ring, int line, const float* w, V bias, int lanes, float* y,
            const float* residual) {
  constexpr int kPixel = G * kLanes;
  const ptrdiff_t step = ptrdiff_t{s.stride_w} * kPixel, tap = ptrdiff_t{s.dilation_w} * kPixel;
  V acc[Q];
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q) acc[q] = bias;
  for (int ky = 0; ky < s.kernel_h; ++ky) {
    const float* xk = ring + ptrdiff_t{(line + ky * s.dilation_h) % s.ring} * s.width * kPixel;
    for (int kx = 0; kx < s.kernel_w; ++kx, xk += tap) {
#pragma GCC unroll 8
      for (int i = 0; i < G; ++i, w += kLanes) {
        const V wv = load(w);
#pragma GCC unroll 8
        for (int q = 0; q < Q; ++q) acc[q] += load(xk + q * step + i * kLanes) * wv;
      }
    }
  }
  const Epilogue e = epilogue_of(nullptr, s.act);
  const V low = splat(e.low), high = splat(e.high);
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q) {
    V v = acc[q];
    if (residual) v += load_first(residual + q * s.residual_stride, lanes);
    store_first(y + q * s.out_stride, bounded(v, low, high), lanes);
  }
}

template <int G>
void run_chunk(const State& s, int32_t chunk, float* scratch) {
  const int vector = chunk % s.vectors, band = chunk / s.vectors % s.bands, image = chunk / s.vectors / s.bands;
  const int c = vector * kLanes, lanes = imin(kLanes, s.c - c);
  const int oy = band * s.rows, rows = imin(s.rows, s.oh - oy);
  float* const line = scratch;
  float* const ring = scratch + ptrdiff_t{s.width} * kPanelChannels;
  const float* w = s.weights + ptrdiff_t{c} * s.parameters.taps * G;
  const V bias = load(s.bias + c);
  for (int q = 0; q < s.ow;) {
    const int left = s.ow - q, count = left >= kPixels ? kPixels : left >= 7 ? 7 : left >= 4 ? 4 : 1;
    const auto outputs = count == kPixels ? pixels<G, kPixels>
                         : count == 7     ? pixels<G, 7>
                         : count == 4     ? pixels<G, 4>
                                          : pixels<G, 1>;
    const int width = (count - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1;
    int gathered = 0;  // rows, counted from the band's first
    for (int r = 0; r < rows; ++r) {
      const int first = r * s.stride_h;
      for (gathered = imax(gathered, first); gathered < first + s.ring; ++gathered) {
        gather_row<G>(s, image, oy * s.stride_h - s.pad_top + gathered, q * s.stride_w - s.pad_left, width, c,
                      c + lanes, line, ring + ptrdiff_t{gathered % s.ring} * s.width * G * kLanes);
      }
      const ptrdiff_t p = (ptrdiff_t{image} * s.oh + oy + r) * s.ow + q;
      outputs(s, ring, first % s.ring, w, bias, lanes, s.out + p * s.out_stride + c,
              s.residual ? s.residual + p * s.residual_stride + c : nullptr);
    }
    q += count;
  }
  const ptrdiff_t first = (ptrdiff_t{image} * s.oh + oy) * s.ow;
  activate_rows(s.act, s.out + first * s.out_stride + c, 0, s.out_stride, 1, rows * s.ow, lanes);
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  auto* floats = static_cast<float*>(scratch);
  if (s.group == 2) {
    run_chunk<2>(s, chunk, floats);
  } else if (s.group == 4) {
    if constexpr (kLanes > 4) run_chunk<4>(s, chunk, floats);
  } else {
    if constexpr (kLanes > 8) run_chunk<8>(s, chunk, floats);
  }
}

}  // namespace

const Kernel kConvGrouped = {
    .name = "conv2d_grouped_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .refresh = refresh,
    .copies_parameters = true,
};

}  // namespace sparsenet::rt::SPARSENET_ISA

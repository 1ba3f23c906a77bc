// Grouped convolution with small groups: G inputs and G outputs each, where G divides the vector's lanes. Vectors run
// along the channels, so input i of a group and its output i have the same lane, and every input must reach G lanes.
// Products stay in the lane of their input: of the G sums of a pixel, sum r collects in lane i what input i adds to
// output i ^ r. The sums are brought to their outputs' lanes once, after all taps. So inputs are read in place, each is
// loaded once for G products, and what lies outside of the image counts as zero. Inputs that are channel ranges or have
// an affine in front are gathered into a panel.
#include "kernels/portable/gemm.h"
#include "kernels/portable/lanes.h"
#include "kernels/portable/panel.h"
#include "kernels/portable/portable.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

// Neighbouring outputs that are computed at once: so many that sums, inputs and a vector of weights fit the registers.
template <int G>
constexpr int kTile = kAccumulators / (G == 2 ? 3 : G);

struct State {
  Source source;
  Parameters parameters;
  float* weights;  // [vector of channels][tap][sum r][lane: weight of the lane's input for output lane ^ r]
  float* bias;
  float* out;
  const float* residual;
  ptrdiff_t out_stride, residual_stride;
  Act act;
  Panel panel;
  bool in_place;
  int32_t group, c, h, w, oh, ow, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int32_t rows, bands, blocks;  // output rows per band; bands; blocks of channels
};

// About 256 pixels per chunk, and about eight chunks per image or more.
int bands_of(const Step& s) {
  const int rows = imax(1, imin(256 / imax(s.out.w, 1), s.out.h));
  const int wanted = imax(ceil_div(s.out.h, rows), imin(s.out.h, ceil_div(8, panel_blocks(s.in.c))));
  return ceil_div(s.out.h, ceil_div(s.out.h, wanted));
}
int rows_of(const Step& s) {
  return ceil_div(s.out.h, bands_of(s));
}
Panel panel_of(const Step& s) {
  const Window& w = s.window;
  return make_panel(plain_axis(s.in.h, w.kernel_h, w.stride_h, w.dilation_h, w.pad_top, rows_of(s)),
                    plain_axis(s.in.w, w.kernel_w, w.stride_w, w.dilation_w, w.pad_left, s.out.w));
}
int vectors_of(const Step& s) {
  return ceil_div(s.in.c, kLanes);
}

bool supports(const Step& s) {
  if (s.op != StepOp::kConv || s.in.c != s.out.c || s.out.segment_count != 1 || s.in2.segment_count > 1) return false;
  const int group = s.in.c / s.conv.groups;
  return (group == 2 || group == 4 || group == 8) && group <= kLanes && panel_of(s).block_stride < kMostElements &&
         int64_t{s.out.n} * bands_of(s) * panel_blocks(s.in.c) < 65000;
}

void query(const Step& s, KernelNeeds* needs) {
  const auto group = static_cast<uint64_t>(s.in.c / s.conv.groups);
  const auto padded = static_cast<uint64_t>(vectors_of(s)) * kLanes;
  needs->state_bytes = sizeof(State) + source_bytes(s.in);
  needs->weight_bytes = padded * (group * static_cast<uint64_t>(s.window.kernel_h * s.window.kernel_w) + 1) * 4;
  needs->scratch_bytes = reads_in_place(s) ? 0 : static_cast<uint64_t>(panel_of(s).block_stride) * sizeof(float);
  needs->chunks = s.out.n * bands_of(s) * panel_blocks(s.in.c);
}

void refresh(const void* memory, int32_t part, int32_t) {
  if (part != 0) return;
  const auto& s = *static_cast<const State*>(memory);
  const Parameters& p = s.parameters;
  for (int c = 0; c < s.c; ++c) {  // as input
    const int g = c / s.group, i = c % s.group;
    const float* w = p.weight + ptrdiff_t{g} * p.outputs * p.inputs * p.taps + p.first + i * p.in;
    float* to = s.weights + ptrdiff_t{c / kLanes} * p.taps * s.group * kLanes + c % kLanes;
    for (int t = 0; t < p.taps; ++t) {
      for (int r = 0; r < s.group; ++r) to[(t * s.group + r) * kLanes] = w[(i ^ r) * p.out + t * p.tap];
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
  s->weights = place.weights;
  s->bias = place.weights + ptrdiff_t{vectors_of(step)} * kLanes * s->group * s->parameters.taps;
  refresh(s, 0, 1);
  s->out = dense_pointer(step.out, place.arena);
  s->residual = dense_pointer(step.in2, place.arena);
  s->out_stride = step.out.segments[0].pixel_stride;
  s->residual_stride = s->residual ? step.in2.segments[0].pixel_stride : 0;
  s->act = step.act;
  s->panel = panel_of(step);
  s->in_place = reads_in_place(step);
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
  s->blocks = panel_blocks(step.in.c);
  return nullptr;
}

// What a tile reads and where it writes.
struct Tile {
  int32_t kernel_h, kernel_w;  // taps
  int32_t stride, dilation;    // of columns
  int32_t first, last;         // the columns that lie in the image, of those from the first one that is read on
  int32_t lanes;
  ptrdiff_t row, column;  // floats from one row of taps to the next, and between columns
  ptrdiff_t weight_row, out_stride, residual_stride;
  V bias, low, high;
};

// Q neighbouring outputs of a vector of channels. kEdge: some columns may lie outside of the image. kWhole: all lanes
// are in use.
template <int G, int Q, bool kEdge, bool kWhole>
void tile(const Tile& t, const float* x, const float* w, float* y, const float* residual) {
  V acc[Q][G];
#pragma GCC unroll 16
  for (int q = 0; q < Q; ++q) {
    acc[q][0] = t.bias;
#pragma GCC unroll 8
    for (int r = 1; r < G; ++r) acc[q][r] = V{};
  }
  const ptrdiff_t step = t.stride * t.column;
  for (int ky = 0; ky < t.kernel_h; ++ky, x += t.row) {
    const float* at = x;
    for (int kx = 0; kx < t.kernel_w; ++kx, at += t.dilation * t.column) {
      V in[Q];
#pragma GCC unroll 16
      for (int q = 0; q < Q; ++q) {
        const int column = kx * t.dilation + q * t.stride;
        if (kEdge && (column < t.first || column >= t.last)) {
          in[q] = V{};
        } else {
          in[q] = kWhole ? load(at + q * step) : load_first(at + q * step, t.lanes);
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < G; ++r, w += kLanes) {
        const V weight = load(w);
#pragma GCC unroll 16
        for (int q = 0; q < Q; ++q) acc[q][r] += in[q] * weight;
      }
    }
  }
#pragma GCC unroll 16
  for (int q = 0; q < Q; ++q) {
#pragma GCC unroll 8
    for (int r = 0; r < G; r += 2) acc[q][r] += exchange<1>(acc[q][r + 1]);
    if constexpr (G >= 4) {
#pragma GCC unroll 8
      for (int r = 0; r < G; r += 4) acc[q][r] += exchange<2>(acc[q][r + 2]);
    }
    if constexpr (G >= 8) acc[q][0] += exchange<4>(acc[q][4]);
    V v = acc[q][0];
    if (residual) v += load_first(residual + q * t.residual_stride, t.lanes);
    store_first(y + q * t.out_stride, bounded(v, t.low, t.high), t.lanes);
  }
}

using TileFunction = void (*)(const Tile& t, const float* x, const float* w, float* y, const float* residual);

// The function for `count` outputs, at most Q.
template <int G, bool kEdge, bool kWhole, int Q = kTile<G>>
TileFunction tile_of(int count) {
  if constexpr (Q > 1) {
    if (count < Q) return tile_of<G, kEdge, kWhole, Q - 1>(count);
  }
  return tile<G, Q, kEdge, kWhole>;
}

// A row of outputs of a vector of channels; x and y are where column 0 of the image or panel and of the output lie.
template <int G>
void run_row(const State& s, Tile t, const float* x, const float* w, float* y, const float* residual) {
  const bool whole = t.lanes == kLanes;
  const int tiles = ceil_div(s.ow, kTile<G>), width = s.in_place ? s.w : s.panel.x.length;
  for (int i = 0, begin = 0; i < tiles; ++i) {
    const int count = (s.ow - begin) / (tiles - i);  // lengths differ by one at most
    const int first = begin * s.stride_w - (s.in_place ? s.pad_left : 0);
    const int reads = (count - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1;
    t.first = imax(0, -first);
    t.last = imin(reads, width - first);
    const bool edge = t.first > 0 || t.last < reads;
    const TileFunction function = edge ? (whole ? tile_of<G, true, true>(count) : tile_of<G, true, false>(count))
                                       : (whole ? tile_of<G, false, true>(count) : tile_of<G, false, false>(count));
    function(t, x + first * t.column, w, y + begin * s.out_stride,
             residual ? residual + begin * s.residual_stride : nullptr);
    begin += count;
  }
}

template <int G>
void run_chunk(const State& s, int32_t chunk, float* panel) {
  const int block = chunk % s.blocks, band = chunk / s.blocks % s.bands, image = chunk / s.blocks / s.bands;
  const int begin = block * kPanelChannels, end = imin(begin + kPanelChannels, s.c);
  const int oy = band * s.rows, rows = imin(s.rows, s.oh - oy);
  const GatherRange& in = s.source.segments[0];
  if (!s.in_place) {
    const int lines = (rows - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
    fill_panel(s.source, s.panel, image, oy * s.stride_h, lines, begin, end, panel);
  }
  const Epilogue e = epilogue_of(nullptr, s.act);
  Tile t{};
  t.kernel_w = s.kernel_w;
  t.stride = s.stride_w;
  t.dilation = s.dilation_w;
  t.column = s.in_place ? in.pixel_stride : kPanelChannels;
  const ptrdiff_t line = s.in_place ? s.w * t.column : s.panel.row;
  t.row = s.dilation_h * line;
  t.weight_row = ptrdiff_t{s.kernel_w} * G * kLanes;
  t.out_stride = s.out_stride;
  t.residual_stride = s.residual_stride;
  t.low = splat(e.low);
  t.high = splat(e.high);
  const ptrdiff_t first = (ptrdiff_t{image} * s.oh + oy) * s.ow;
  for (int c = begin; c < end; c += kLanes) {
    t.lanes = imin(kLanes, end - c);
    t.bias = load(s.bias + c);
    const float* weights = s.weights + ptrdiff_t{c} * s.parameters.taps * G;
    for (int r = 0; r < rows; ++r) {
      const ptrdiff_t p = first + ptrdiff_t{r} * s.ow;
      float* y = s.out + p * s.out_stride + c;
      const float* residual = s.residual ? s.residual + p * s.residual_stride + c : nullptr;
      if (s.in_place) {
        const int y0 = (oy + r) * s.stride_h - s.pad_top;
        const TapRange taps = taps_inside(y0, s.h, s.kernel_h, s.dilation_h);
        t.kernel_h = taps.end - taps.begin;
        const float* x = in.base + c + (ptrdiff_t{image} * s.h + y0 + taps.begin * s.dilation_h) * line;
        run_row<G>(s, t, x, weights + taps.begin * t.weight_row, y, residual);
      } else {
        t.kernel_h = s.kernel_h;
        run_row<G>(s, t, panel + r * s.stride_h * line + (c - begin), weights, y, residual);
      }
    }
  }
  activate_rows(s.act, s.out + first * s.out_stride + begin, 0, s.out_stride, 1, rows * s.ow, end - begin);
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  auto* floats = static_cast<float*>(scratch);
  if (s.group == 2) {
    run_chunk<2>(s, chunk, floats);
  } else if (s.group == 4) {
    run_chunk<4>(s, chunk, floats);
  } else {
    if constexpr (kLanes >= 8) run_chunk<8>(s, chunk, floats);
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

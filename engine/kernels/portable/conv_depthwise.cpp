// Depthwise convolution: one filter per channel. A chunk is a band of output rows of one image, and a range of
// channels. Vectors run along the channels, and tiles of neighbouring outputs share what they load. Inputs are read in
// place, and what lies outside of the image is left out; those that are channel ranges or have an affine in front are
// gathered into a panel with their padding.
#include "kernels/portable/depthwise.h"
#include "kernels/portable/gemm.h"
#include "kernels/portable/portable.h"
#include "runtime/caches.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

struct State {
  Source source;
  Parameters parameters;
  float* weights;  // [vector of channels][tap][kLanes]
  float* bias;
  float* out;
  const float* residual;
  ptrdiff_t out_stride, residual_stride;
  Act act;
  Panel panel;
  bool in_place;
  int32_t h, w, pad_top, pad_left, c, oh, ow, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, rows,
      bands, channels, ranges;
};

int padded_channels(const Step& s) {
  return ceil_div(s.in.c, kLanes) * kLanes;
}

struct Blocking {
  int32_t rows, bands, channels, ranges;  // per chunk: output rows, channels; per image: bands, ranges of channels
};

// About 512 pixels or 32 K outputs per chunk, and at least four chunks per image. What is read in place is cut into
// rows alone, as in other convolutions, so that a thread finds in its own cache what it has written before.
Blocking blocking_of(const Step& s) {
  const int blocks = panel_blocks(s.in.c);
  Blocking b;
  if (reads_in_place(s)) {
    b.rows = imax(1, imin(ceil_div(s.out.h, 4), 512 / imax(s.out.w, 1)));
    b.bands = ceil_div(s.out.h, b.rows);
    b.rows = ceil_div(s.out.h, b.bands);
    b.bands = ceil_div(s.out.h, b.rows);
    b.channels = blocks * kPanelChannels;
    b.ranges = 1;
    return b;
  }
  b.rows = imax(1, imin(s.out.h, 512 / imax(s.out.w, 1)));
  b.bands = ceil_div(s.out.h, b.rows);
  const int64_t outputs = int64_t{b.rows} * s.out.w * kPanelChannels;
  const int64_t fit = 32 * 1024 / (outputs > 0 ? outputs : 1);
  const int most = imax(1, blocks * b.bands / 4);
  b.channels = (fit < 1 ? 1 : fit > most ? most : static_cast<int>(fit)) * kPanelChannels;
  b.ranges = ceil_div(s.in.c, b.channels);
  if (b.bands * b.ranges < 4) b.rows = imax(1, ceil_div(s.out.h * b.ranges, 4));
  b.bands = ceil_div(s.out.h, b.rows);
  b.rows = ceil_div(s.out.h, b.bands);
  b.bands = ceil_div(s.out.h, b.rows);
  return b;
}

Axis y_axis(const Step& s, int rows) {
  const Window& w = s.window;
  return plain_axis(s.in.h, w.kernel_h, w.stride_h, w.dilation_h, w.pad_top, rows);
}
Axis x_axis(const Step& s) {
  const Window& w = s.window;
  return plain_axis(s.in.w, w.kernel_w, w.stride_w, w.dilation_w, w.pad_left, s.out.w);
}
int64_t panel_floats(const Step& s, const Blocking& b) {
  return block_floats(y_axis(s, b.rows), x_axis(s)) * (b.channels / kPanelChannels);
}

bool supports(const Step& s) {
  if (s.op != StepOp::kConv || s.conv.groups == 1 || s.conv.groups != s.in.c || s.conv.groups != s.out.c ||
      s.out.segment_count != 1 || s.in2.segment_count > 1) {
    return false;
  }
  const Blocking b = blocking_of(s);
  return int64_t{s.out.n} * b.bands * b.ranges < 65000 && panel_floats(s, b) < kMostElements;
}

void query(const Step& s, KernelNeeds* needs) {
  const Blocking b = blocking_of(s);
  needs->state_bytes = sizeof(State) + source_bytes(s.in);
  needs->weight_bytes =
      static_cast<uint64_t>(padded_channels(s)) * static_cast<uint64_t>(s.window.kernel_h * s.window.kernel_w + 1) * 4;
  needs->scratch_bytes = reads_in_place(s) ? 0 : static_cast<uint64_t>(panel_floats(s, b)) * sizeof(float);
  needs->chunks = s.out.n * b.bands * b.ranges;
}

void refresh(const void* memory, int32_t part, int32_t) {
  if (part != 0) return;
  const auto& s = *static_cast<const State*>(memory);
  const Parameters& p = s.parameters;
  for (int c = 0; c < s.c; ++c) {
    const float* w = p.weight + ptrdiff_t{c} * p.taps + p.first;
    float* to = s.weights + ptrdiff_t{c / kLanes} * p.taps * kLanes + c % kLanes;
    for (int t = 0; t < p.taps; ++t) to[t * kLanes] = w[t * p.tap];
    s.bias[c] = p.bias ? p.bias[c] : 0.f;
  }
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  s->source = make_source(step, place.arena, s + 1);
  s->parameters = parameters_of(step);
  s->weights = place.weights;
  s->bias = place.weights + ptrdiff_t{padded_channels(step)} * step.window.kernel_h * step.window.kernel_w;
  s->c = step.in.c;
  refresh(s, 0, 1);
  s->out = dense_pointer(step.out, place.arena);
  s->residual = dense_pointer(step.in2, place.arena);
  s->out_stride = step.out.segments[0].pixel_stride;
  s->residual_stride = s->residual ? step.in2.segments[0].pixel_stride : 0;
  s->act = step.act;
  s->in_place = reads_in_place(step);
  s->h = step.in.h;
  s->w = step.in.w;
  s->pad_top = step.window.pad_top;
  s->pad_left = step.window.pad_left;
  s->oh = step.out.h;
  s->ow = step.out.w;
  s->kernel_h = step.window.kernel_h;
  s->kernel_w = step.window.kernel_w;
  s->stride_h = step.window.stride_h;
  s->stride_w = step.window.stride_w;
  s->dilation_h = step.window.dilation_h;
  s->dilation_w = step.window.dilation_w;
  const Blocking b = blocking_of(step);
  s->rows = b.rows;
  s->bands = b.bands;
  s->channels = b.channels;
  s->ranges = b.ranges;
  s->panel = make_panel(y_axis(step, b.rows), x_axis(step));
  return nullptr;
}

const Variant& variant_of(const State& s) {
  static const Variant kVariants[] = {variant<3, 1>(), variant<3, 2>(), variant<5, 1>(),
                                      variant<5, 2>(), variant<7, 1>(), variant<0, 0>()};
  const Variant* v = kVariants;
  while (v->kernel != 0 && !(v->kernel == s.kernel_w && v->stride == s.stride_w && s.dilation_w == 1)) ++v;
  return *v;
}

struct Band {
  int32_t image, oy, rows, begin, end;  // of a chunk: output rows, channels
};

void run_panel(const State& s, const Band& band, Filter f, float* panel) {
  const int lines = (band.rows - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
  fill_panel(s.source, s.panel, band.image, band.oy * s.stride_h, lines, band.begin, band.end, panel);
  const PanelRow row = variant_of(s).panel;
  f.row = s.dilation_h * s.panel.row;
  f.tap = ptrdiff_t{s.dilation_w} * kPanelChannels;
  f.step = ptrdiff_t{s.stride_w} * kPanelChannels;
  const ptrdiff_t first = (ptrdiff_t{band.image} * s.oh + band.oy) * s.ow;
  for (int c = band.begin; c < band.end; c += kLanes) {
    const Channels vector{s.weights + ptrdiff_t{c} * s.parameters.taps, load(s.bias + c), imin(kLanes, s.c - c)};
    const int at = c - band.begin;
    const float* x = panel + at / kPanelChannels * s.panel.block_stride + at % kPanelChannels;
    for (int r = 0; r < band.rows; ++r) {
      const ptrdiff_t p = first + ptrdiff_t{r} * s.ow;
      row(f, vector, x + ptrdiff_t{r} * s.stride_h * s.panel.row, s.out + p * s.out_stride + c,
          s.residual ? s.residual + p * s.residual_stride + c : nullptr, s.ow);
    }
  }
}

// One row of outputs, read in place.
void image_row(const State& s, const Band& band, Filter f, const Variant& variant, int oy) {
  const int y0 = oy * s.stride_h - s.pad_top;
  const TapRange ty = taps_inside(y0, s.h, s.kernel_h, s.dilation_h);
  f.kernel_h = ty.end - ty.begin;
  const ptrdiff_t taps = s.parameters.taps;
  const float* weights = s.weights + band.begin * taps + ty.begin * f.weight_row;
  const float* bias = s.bias + band.begin;
  const int channels = band.end - band.begin;
  const GatherRange& in = s.source.segments[0];
  const float* x =
      in.base + (ptrdiff_t{band.image} * s.h + y0 + ty.begin * s.dilation_h) * s.w * in.pixel_stride + band.begin;
  const ptrdiff_t p0 = (ptrdiff_t{band.image} * s.oh + oy) * s.ow;
  const int reads =
      (kDepthwisePixels - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1;  // inputs of a tile's row
  for (int ox = 0; ox < s.ow;) {
    // The last tile goes back to be whole: computing outputs a second time gives the same bits, unless a residual lies
    // where they are written.
    if (variant.edge && !s.residual && s.ow >= kDepthwisePixels) ox = imin(ox, s.ow - kDepthwisePixels);
    const ptrdiff_t p = p0 + ox;
    float* y = s.out + p * s.out_stride + band.begin;
    const float* residual = s.residual ? s.residual + p * s.residual_stride + band.begin : nullptr;
    const int x0 = ox * s.stride_w - s.pad_left;
    f.first = imax(0, -x0);
    f.last = imin(reads, s.w - x0);
    const bool inside = f.first == 0 && f.last == reads;
    if (ox + kDepthwisePixels <= s.ow && (inside || variant.edge)) {
      (inside ? variant.image : variant.edge)(f, weights, bias, taps, x + ptrdiff_t{x0} * in.pixel_stride, y, residual,
                                              channels);
      ox += kDepthwisePixels;
      continue;
    }
    const TapRange tx = taps_inside(x0, s.w, s.kernel_w, s.dilation_w);
    Filter part = f;
    part.kernel_w = tx.end - tx.begin;
    image_tile<1, 0, 0, From::kImage>(part, weights + tx.begin * kLanes, bias, taps,
                                      x + ptrdiff_t{x0 + tx.begin * s.dilation_w} * in.pixel_stride, y, residual,
                                      channels);
    ++ox;
  }
}

void run_in_place(const State& s, const Band& band, Filter f) {
  const Variant& variant = variant_of(s);
  const ptrdiff_t pixel = s.source.segments[0].pixel_stride;
  f.row = ptrdiff_t{s.dilation_h} * s.w * pixel;
  f.tap = s.dilation_w * pixel;
  f.step = s.stride_w * pixel;
  // So many channels at once that their weights stay in the first-level cache, and if possible also the input rows of
  // an output row, which the next one reads again.
  const auto fit = [](int64_t floats) {
    return static_cast<int>(caches.first_level / static_cast<int64_t>(sizeof(float)) / floats) / kPanelChannels *
           kPanelChannels;
  };
  const int by_rows = fit(2 * int64_t{s.kernel_h} * s.w), by_weights = imax(fit(4 * s.parameters.taps), kPanelChannels);
  const int channels = by_rows > 0 ? imin(by_rows, by_weights) : by_weights;
  for (Band part = band; part.begin < band.end; part.begin += channels) {
    part.end = imin(part.begin + channels, band.end);
    for (int r = 0; r < band.rows; ++r) image_row(s, part, f, variant, band.oy + r);
  }
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  Band band;
  band.image = chunk / s.ranges / s.bands;
  band.oy = chunk / s.ranges % s.bands * s.rows;
  band.rows = imin(s.rows, s.oh - band.oy);
  band.begin = chunk % s.ranges * s.channels;
  band.end = imin(band.begin + s.channels, s.c);
  const Epilogue bounds = epilogue_of(nullptr, s.act);
  Filter f{};
  f.low = splat(bounds.low);
  f.high = splat(bounds.high);
  f.weight_row = ptrdiff_t{s.kernel_w} * kLanes;
  f.kernel_h = s.kernel_h;
  f.kernel_w = s.kernel_w;
  f.out_stride = s.out_stride;
  f.residual_stride = s.residual_stride;
  if (s.in_place) {
    run_in_place(s, band, f);
  } else {
    run_panel(s, band, f, static_cast<float*>(scratch));
  }
  const ptrdiff_t first = (ptrdiff_t{band.image} * s.oh + band.oy) * s.ow;
  activate_rows(s.act, s.out + first * s.out_stride + band.begin, 0, s.out_stride, 1, band.rows * s.ow,
                band.end - band.begin);
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

// Gradient of convolution weights: dw[o][i][t] = sum over pixels p of dy[p][o] x[p + t][i], and db[o] = sum of
// dy[p][o].
//
// These are sums of outer products. A chunk is a fixed share of the batch's pixels with a partial sum of its own (so
// that results do not depend on the number of threads); the second round adds the partial sums in the chunks' order.
// Within a chunk, bands of a few rows are gathered with their padding and the affine in front. There the taps and
// channels of a kernel row lie side by side (a "run" of kernel_w * inputs elements), so the outer product for each
// kernel row is run x outputs. Vectors go along the outputs, or along the run if that wastes fewer lanes (few outputs).
#include "kernels/portable/band.h"
#include "kernels/portable/gemm.h"
#include "kernels/portable/portable.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

constexpr int kPointwiseTile = 96;                // pixels per band if there are no borders
constexpr size_t kMostShared = size_t{16} << 20;  // bytes of partial sums

struct State {
  Source source;
  BandShape band;
  const float* dy;
  float* dw;
  float* db;
  float* partial;  // [chunk][kernel row][run or output][vectors]
  int64_t partial_floats, bias_floats;
  int32_t images, oh, ow, inputs, outputs, kernel_h, kernel_w, stride_h, stride_w, dilation_h, pad_top;
  int32_t run, rows, columns;  // outer product: `rows` broadcast elements x `columns` vector elements
  bool along_run;              // vectors go along the run
  bool pointwise;
  int32_t band_rows, bands, units, chunks;  // a unit is a band of an image; pointwise: kPointwiseTile pixels
  int64_t band_floats;
};

int round_lanes(int c) {
  return ceil_div(c, kLanes) * kLanes;
}

bool is_pointwise(const Step& s) {
  return s.window.kernel_h == 1 && s.window.kernel_w == 1 && s.window.stride_h == 1 && s.window.stride_w == 1 &&
         s.window.pad_top == 0 && s.window.pad_left == 0 && s.window.pad_bottom == 0 && s.window.pad_right == 0;
}

int64_t pixel_count(const View& v) {
  return int64_t{v.n} * v.h * v.w;
}

void fill_shape(const Step& step, State* s) {
  s->images = step.in2.n;
  s->oh = step.in2.h;
  s->ow = step.in2.w;
  s->inputs = step.in.c;
  s->outputs = step.in2.c;
  s->kernel_h = step.window.kernel_h;
  s->kernel_w = step.window.kernel_w;
  s->stride_h = step.window.stride_h;
  s->stride_w = step.window.stride_w;
  s->dilation_h = step.window.dilation_h;
  s->pad_top = step.window.pad_top;
  s->run = step.window.kernel_w * step.in.c;
  s->along_run = int64_t{s->outputs} * round_lanes(s->run) <= int64_t{round_lanes(s->outputs)} * s->run;
  s->rows = s->along_run ? s->outputs : s->run;
  s->columns = round_lanes(s->along_run ? s->run : s->outputs);
  s->partial_floats = int64_t{s->kernel_h} * s->rows * s->columns;
  s->bias_floats = round_lanes(s->outputs);
  s->pointwise = is_pointwise(step);
  if (s->pointwise) {
    const int64_t pixels = pixel_count(step.in);
    s->band = {1, static_cast<int32_t>(pixels), step.in.c, 0, kPointwiseTile};
    s->units = static_cast<int32_t>((pixels + kPointwiseTile - 1) / kPointwiseTile);
    s->band_floats = int64_t{kPointwiseTile} * step.in.c;
  } else {
    s->band_rows = imin(imax(1, 128 / s->ow), s->oh);
    s->bands = ceil_div(s->oh, s->band_rows);
    s->units = s->images * s->bands;
    s->band = {step.in.h, step.in.w, step.in.c, step.window.pad_left, band_input_width(step, s->ow)};
    s->band_floats = int64_t{band_input_rows(step, s->band_rows)} * s->band.width * step.in.c;
  }
  const uint64_t bytes = static_cast<uint64_t>(s->partial_floats + s->bias_floats) * sizeof(float);
  const int fit = static_cast<int>(kMostShared / (bytes + 1));
  s->chunks = imin(imin(s->units, 16), imax(fit, 2));
}

bool supports(const Step& s) {
  return s.op == StepOp::kConvGradWeight && s.conv.groups == 1 && s.window.dilation_w == 1 &&
         s.in2.segment_count == 1 && pixel_count(s.in) < (int64_t{1} << 30);
}

void query(const Step& step, KernelNeeds* needs) {
  State s{};
  fill_shape(step, &s);
  needs->state_bytes = sizeof(State) + source_bytes(step.in);
  needs->weight_bytes = 0;
  const int64_t tile = s.pointwise ? kPointwiseTile : int64_t{s.band_rows} * s.ow;
  // The band, one more vector that a load may touch, and the padded gradients.
  needs->scratch_bytes = static_cast<uint64_t>(s.band_floats + kLanes + tile * s.bias_floats) * sizeof(float);
  needs->shared_bytes =
      static_cast<uint64_t>(s.chunks) * static_cast<uint64_t>(s.partial_floats + s.bias_floats) * sizeof(float);
  needs->chunks = s.chunks;
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  fill_shape(step, s);
  s->source = make_source(step, place.arena, s + 1);
  s->dy = dense_pointer(step.in2, place.arena);
  s->dw = dense_pointer(step.out, place.arena);
  s->db = step.train.operand_count > 0 ? dense_pointer(step.train.operands[0], place.arena) : nullptr;
  s->partial = static_cast<float*>(place.shared);
  return nullptr;
}

// The pixels of both operands: rows x columns of them, and their strides in elements.
struct Pixels {
  int32_t rows, columns;
  ptrdiff_t a_row, a_pixel;  // broadcast operand
  ptrdiff_t v_row, v_pixel;  // vector operand
};

// Adds a[r] * v[b] of every pixel to sum[r][b], for R elements and B vectors.
template <int R, int B>
__attribute__((noinline)) void outer_tile(const Pixels& p, const float* a, const float* v, float* sum,
                                          ptrdiff_t sum_stride) {
  V acc[R][B];
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int b = 0; b < B; ++b) acc[r][b] = load(sum + r * sum_stride + b * kLanes);
  }
  for (int32_t y = 0; y < p.rows; ++y) {
    const float* ap = a + y * p.a_row;
    const float* vp = v + y * p.v_row;
    for (int32_t x = 0; x < p.columns; ++x, ap += p.a_pixel, vp += p.v_pixel) {
      V vv[B];
#pragma GCC unroll 8
      for (int b = 0; b < B; ++b) vv[b] = load(vp + b * kLanes);
#pragma GCC unroll 32
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) acc[r][b] += ap[r] * vv[b];
      }
    }
  }
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int b = 0; b < B; ++b) store(sum + r * sum_stride + b * kLanes, acc[r][b]);
  }
}

template <int R, int B>
SPARSENET_INLINE int outer_rows(const Pixels& p, const float* a, const float* v, int rows, int r, float* sum,
                                ptrdiff_t stride) {
  for (; r + R <= rows; r += R) outer_tile<R, B>(p, a + r, v, sum + r * stride, stride);
  return r;
}

template <int B>
void outer_column(const Pixels& p, const float* a, const float* v, int rows, float* sum, ptrdiff_t stride) {
  constexpr int kFull = kAccumulators / B;
  int r = outer_rows<kFull, B>(p, a, v, rows, 0, sum, stride);
  if constexpr (kFull > 16) r = outer_rows<16, B>(p, a, v, rows, r, sum, stride);
  if constexpr (kFull > 8) r = outer_rows<8, B>(p, a, v, rows, r, sum, stride);
  if constexpr (kFull > 4) r = outer_rows<4, B>(p, a, v, rows, r, sum, stride);
  if constexpr (kFull > 2) r = outer_rows<2, B>(p, a, v, rows, r, sum, stride);
  outer_rows<1, B>(p, a, v, rows, r, sum, stride);
}

// How many of `left` vectors a tile takes: three if, with eight broadcast elements, they fill the registers.
int blocks_of(int left, int rows) {
  if (kMaxBlocks == 4 && left % 3 == 0 && rows % 8 == 0) return 3;
  return next_blocks(left);
}

void outer(const Pixels& p, const float* a, const float* v, int rows, int columns, float* sum) {
  for (int b = 0; b < columns / kLanes;) {
    const int take = blocks_of(columns / kLanes - b, rows);
    const float* vb = v + b * kLanes;
    float* to = sum + b * kLanes;
    switch (take) {
      case 1:
        outer_column<1>(p, a, vb, rows, to, columns);
        break;
      case 2:
        outer_column<2>(p, a, vb, rows, to, columns);
        break;
      case 3:
        if constexpr (kMaxBlocks > 2) outer_column<3>(p, a, vb, rows, to, columns);
        break;
      default:
        if constexpr (kMaxBlocks > 2) outer_column<4>(p, a, vb, rows, to, columns);
        break;
    }
    b += take;
  }
}

void add_bias(const float* d, ptrdiff_t stride, int pixels, int outputs, float* sum) {
  for (int o = 0; o < outputs; o += kLanes) {
    const int lanes = imin(kLanes, outputs - o);
    V acc = load(sum + o);
    for (int p = 0; p < pixels; ++p) acc += load_first(d + p * stride + o, lanes);
    store(sum + o, acc);
  }
}

void unit_sum(const State& s, int32_t unit, float* sum, float* bias, float* scratch) {
  float* band = scratch;
  float* padded = scratch + s.band_floats + kLanes;
  Pixels p{};
  int rows = 1, columns = 0;
  const float* d = nullptr;
  ptrdiff_t input_row = 0;  // elements between rows of the band
  if (s.pointwise) {
    const int32_t first = unit * kPointwiseTile;
    columns = imin(kPointwiseTile, s.band.w - first);
    gather(s.source, first, columns, band, s.inputs);
    d = s.dy + ptrdiff_t{first} * s.outputs;
    p.a_pixel = s.inputs;
  } else {
    const int32_t image = unit / s.bands, oy = unit % s.bands * s.band_rows;
    rows = imin(s.band_rows, s.oh - oy);
    columns = s.ow;
    fill_band(s.source, s.band, image, oy * s.stride_h - s.pad_top,
              (rows - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1, band);
    d = s.dy + (ptrdiff_t{image} * s.oh + oy) * s.ow * s.outputs;
    input_row = ptrdiff_t{s.band.width} * s.inputs;
    p.a_row = s.stride_h * input_row;
    p.a_pixel = ptrdiff_t{s.stride_w} * s.inputs;
  }
  const int pixels = rows * columns;
  add_bias(d, s.outputs, pixels, s.outputs, bias);
  ptrdiff_t d_pixel = s.outputs;
  if (!s.along_run && s.outputs % kLanes != 0) {  // whole vectors of gradients, with zeros behind the last output
    d_pixel = static_cast<ptrdiff_t>(s.bias_floats);
    for (int i = 0; i < pixels; ++i) {
      for (int o = 0; o < s.outputs; o += kLanes) {
        store(padded + i * d_pixel + o, load_first(d + ptrdiff_t{i} * s.outputs + o, imin(kLanes, s.outputs - o)));
      }
    }
    d = padded;
  }
  p.rows = rows;
  p.columns = columns;
  p.v_pixel = d_pixel;
  p.v_row = columns * d_pixel;
  if (s.along_run) {
    const Pixels swapped{rows, columns, p.v_row, p.v_pixel, p.a_row, p.a_pixel};
    p = swapped;
  }
  for (int ky = 0; ky < s.kernel_h; ++ky) {
    const float* x = band + ky * s.dilation_h * input_row;
    float* to = sum + ptrdiff_t{ky} * s.rows * s.columns;
    if (s.along_run) {
      outer(p, d, x, s.rows, s.columns, to);
    } else {
      outer(p, x, d, s.rows, s.columns, to);
    }
  }
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  float* sum = s.partial + chunk * (s.partial_floats + s.bias_floats);
  memset(sum, 0, static_cast<size_t>(s.partial_floats + s.bias_floats) * sizeof(float));
  auto* floats = static_cast<float*>(scratch);
  memset(floats + s.band_floats, 0, kLanes * sizeof(float));
  const int32_t begin = static_cast<int32_t>(int64_t{s.units} * chunk / s.chunks);
  const int32_t end = static_cast<int32_t>(int64_t{s.units} * (chunk + 1) / s.chunks);
  for (int32_t unit = begin; unit < end; ++unit) unit_sum(s, unit, sum, sum + s.partial_floats, floats);
}

// Adds up the partial sums; each chunk does a share of the rows.
void finish(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const int32_t all = s.kernel_h * s.rows;
  const auto stride = static_cast<ptrdiff_t>(s.partial_floats + s.bias_floats);
  const int taps = s.kernel_h * s.kernel_w;
  const int32_t begin = static_cast<int32_t>(int64_t{all} * chunk / s.chunks);
  const int32_t end = static_cast<int32_t>(int64_t{all} * (chunk + 1) / s.chunks);
  for (int32_t r = begin; r < end; ++r) {
    const int32_t ky = r / s.rows, row = r % s.rows;
    for (int32_t c = 0; c < s.columns; c += kLanes) {
      V total{};
      for (int32_t i = 0; i < s.chunks; ++i) total += load(s.partial + i * stride + ptrdiff_t{r} * s.columns + c);
      const int lanes = imin(kLanes, (s.along_run ? s.run : s.outputs) - c);
      for (int l = 0; l < lanes; ++l) {
        const int32_t at = s.along_run ? c + l : row, o = s.along_run ? row : c + l;
        const int32_t kx = at / s.inputs, i = at % s.inputs;
        s.dw[(ptrdiff_t{o} * s.inputs + i) * taps + ky * s.kernel_w + kx] = total[l];
      }
    }
  }
  if (chunk != 0 || !s.db) return;
  for (int32_t o = 0; o < s.outputs; o += kLanes) {
    V total{};
    for (int32_t i = 0; i < s.chunks; ++i) total += load(s.partial + i * stride + s.partial_floats + o);
    store_first(s.db + o, total, imin(kLanes, s.outputs - o));
  }
}

}  // namespace

const Kernel kConvGradWeight = {
    .name = "conv2d_grad_weight_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .finish = finish,
};

}  // namespace sparsenet::rt::SPARSENET_ISA

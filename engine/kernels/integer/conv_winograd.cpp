// 3x3 convolutions of int8 of stride 1 by Winograd's minimal filtering F(4x4, 3x3), without any rounding: 36 products
// per channel for 16 outputs instead of 144. (The method is described in kernels/portable/conv_winograd.cpp.)
//
// With the points 0, +-1, +-2 and infinity, the transform of the input has integers alone: it makes at most 100 times
// 255 of x - zero point, which 16 bits hold. That of the filter has fractions, and is taken 24 times in each dimension,
// but for the point at infinity, whose other half is in the transform of the output. So what comes out is 576 times the
// sum. It is computed modulo 2^32, and 576 = 2^6 * 9: a product with the inverse of 9 and a shift give every sum that
// 26 bits hold. That no sum needs more is known from the weights.
//
// A chunk is a band of rows of tiles of 4x4 output pixels. It has in its scratch the input pixels (cells.h), a panel of
// tiles for each of the 36 products, the products, and the sums of a row of tiles.
#include "kernels/integer/cells.h"
#include "kernels/integer/finish.h"
#include "kernels/integer/tile.h"
#include "kernels/portable/cut.h"

#if defined(SPARSENET_PAIRS)

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

constexpr int kTile = 4, kWindow = 6, kPlanes = kWindow * kWindow;
constexpr int32_t kInverseOf9 = 954437177;  // modulo 2^32
constexpr int64_t kMostSum = (1 << 25) - 1;
constexpr int64_t kMostWeights = 4 << 20;  // bytes

constexpr int kG[kWindow][3] = {{6, 0, 0}, {-4, -4, -4}, {-4, 4, -4}, {1, 2, 4}, {1, -2, 4}, {0, 0, 12}};

// As many 16-bit numbers as a vector has room for.
constexpr int kWords = 2 * kLanes;
typedef uint16_t Words __attribute__((vector_size(2 * kWords)));

struct Shape {
  int32_t tiles_y, tiles_x;
  int32_t rows, bands;                   // rows of tiles per band; bands per image
  int32_t blocks;                        // vectors of outputs
  int32_t width;                         // pixels of a row of the panel
  int64_t panel, plane, products, sums;  // elements: of the panel; of a plane of it; of a plane of products; of a row
  int64_t weights;                       // of a plane and vector of outputs
};

struct State {
  CellSource source;
  CellPanel panel;
  Shape shape;
  Pieces pieces;
  const Weight* weights;  // [plane][vector of outputs][piece, step][output][kStep]
  const int32_t* zeros;   // a bias for the products
  Finish finish;
  int32_t cell_blocks, out_h, out_w;
};

int cell_blocks(const Step& s) {
  return ceil_div(s.in.c, kBlockCells);
}

// An odd number of cache lines, so that planes are not all in the same cache set.
int64_t padded_plane(int64_t elements, int64_t line) {
  return (ceil_div(static_cast<int>(elements), static_cast<int>(line)) | 1) * line;
}

Shape shape_of(const Step& s) {
  constexpr int kBandTiles = 16;
  Shape h{};
  h.tiles_y = ceil_div(s.out.h, kTile);
  h.tiles_x = ceil_div(s.out.w, kTile);
  h.rows = imin(ceil_div(kBandTiles, h.tiles_x), ceil_div(h.tiles_y, 2));
  h.bands = ceil_div(h.tiles_y, h.rows);
  h.rows = ceil_div(h.tiles_y, h.bands);
  h.bands = ceil_div(h.tiles_y, h.rows);
  h.blocks = ceil_div(s.out.c, kLanes);
  h.width = h.tiles_x * kTile + 2;
  const int64_t tiles = int64_t{h.rows} * h.tiles_x;
  h.panel = (int64_t{h.rows} * kTile + 2) * h.width * kBlockCells * cell_blocks(s);
  h.plane = padded_plane(tiles * kBlockCells * cell_blocks(s), kBlockCells);
  h.products = padded_plane(tiles * imin(h.blocks, 2) * kLanes, 16);
  h.sums = int64_t{h.tiles_x} * kTile * imin(h.blocks, 2) * kLanes;
  h.weights = ceil_div(s.in.c, kStep) * kStep * kLanes;
  return h;
}

// Whether 26 bits hold all sums.
bool sums_fit(const Step& s) {
  const auto* weight = static_cast<const int8_t*>(s.conv.weight.data);
  const int64_t count = int64_t{9} * s.in.c;
  if (!weight) return false;
  for (int o = 0; o < s.out.c; ++o, weight += count) {
    int64_t sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += weight[i] < 0 ? -weight[i] : weight[i];
    if (sum * 255 > kMostSum) return false;
  }
  return true;
}

// Estimates of cycles; what counts is which one is smaller.
bool pays(const Step& s, const Shape& h) {
  const double vectors = ceil_div(s.in.c, kWords), steps = ceil_div(s.in.c, kStep),
               pixels = double{1} * s.out.h * s.out.w;
  const double tiles = double{1} * h.tiles_y * h.tiles_x,
               weights = double{kPlanes} * h.blocks * static_cast<double>(h.weights);
  const double direct = pixels * 9 * steps * h.blocks;
  const double loaded = weights * sizeof(Weight) > static_cast<double>(caches.second_level / 2) ? h.bands : 0.5;
  return tiles * (kPlanes * steps * h.blocks + vectors * 150 + h.blocks * 160) + loaded * weights * sizeof(Weight) / 8 <
         direct;
}

bool supports(const Step& s) {
  if (s.op != StepOp::kConv || !s.quant || s.conv.groups != 1 || !residual_supported(s)) return false;
  const Window& w = s.window;
  if (w.kernel_h != 3 || w.kernel_w != 3 || w.stride_h != 1 || w.stride_w != 1 || w.dilation_h != 1 ||
      w.dilation_w != 1 || s.out.h < kTile || s.out.w < kTile) {
    return false;
  }
  if (s.out.segment_count != 1 || pixels_of(s.out) >= kMostElements || s.in.type != DataType::kInt8) return false;
  if (s.in.c > 4096 || s.out.c > 4096 || s.out.w > 4096) return false;  // so that no product below leaves 32 bits
  const Shape h = shape_of(s);
  return kPlanes * h.blocks * h.weights * static_cast<int64_t>(sizeof(Weight)) <= kMostWeights &&
         int64_t{s.out.n} * h.bands < 65000 && h.panel < kMostElements && kPlanes * h.plane < kMostElements &&
         kPlanes * h.products < kMostElements && pays(s, h) && sums_fit(s);
}

size_t requantize_bytes(const Shape& h) {
  return size_t{3} * static_cast<size_t>(h.blocks) * kLanes * sizeof(int32_t);
}

uint64_t weight_bytes(const Shape& h) {
  return static_cast<uint64_t>(kPlanes * h.blocks * h.weights) * sizeof(Weight);
}

void query(const Step& s, KernelNeeds* needs) {
  const Shape h = shape_of(s);
  needs->state_bytes = sizeof(State) + static_cast<size_t>(s.in.segment_count) * sizeof(ByteRange) +
                       static_cast<size_t>(cell_blocks(s)) * sizeof(Piece);
  needs->weight_bytes = weight_bytes(h) + requantize_bytes(h) + 2 * kLanes * sizeof(int32_t) +
                        (s.quant->channels ? scales_bytes(s.in.c) : 0);
  needs->scratch_bytes = static_cast<uint64_t>(h.panel + kPlanes * h.plane) * sizeof(Cell) +
                         static_cast<uint64_t>(kPlanes * h.products + kTile * h.sums + kTileSums) * sizeof(int32_t);
  needs->chunks = s.out.n * h.bands;
}

// G g G^T for the filter of output o and channel c, and the sum of its weights in `sums`.
void pack(const Step& s, const Shape& h, Weight* packed, int32_t* sums) {
  const auto* weight = static_cast<const int8_t*>(s.conv.weight.data);
  for (int o = 0; o < s.out.c; ++o) {
    for (int c = 0; c < s.in.c; ++c) {
      const int8_t* g = weight + (ptrdiff_t{o} * s.in.c + c) * 9;
      int32_t t[kWindow][3];
      for (int i = 0; i < kWindow; ++i) {
        for (int j = 0; j < 3; ++j) t[i][j] = kG[i][0] * g[j] + kG[i][1] * g[3 + j] + kG[i][2] * g[6 + j];
      }
      for (int i = 0; i < 9; ++i) sums[o] += g[i];
      Weight* to = packed + o / kLanes * h.weights + c / kStep * kStep * kLanes + o % kLanes * kStep + c % kStep;
      for (int f = 0; f < kPlanes; ++f, to += h.blocks * h.weights) {
        const int32_t *row = t[f / kWindow], *column = kG[f % kWindow];
        *to = static_cast<Weight>(row[0] * column[0] + row[1] * column[1] + row[2] * column[2]);
      }
    }
  }
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  auto* ranges = reinterpret_cast<ByteRange*>(s + 1);
  for (int32_t i = 0; i < step.in.segment_count; ++i) ranges[i] = byte_range(step.in.segments[i], place.arena);
  auto* pieces = reinterpret_cast<Piece*>(ranges + step.in.segment_count);
  const Shape h = shape_of(step);
  s->shape = h;
  s->out_h = step.out.h;
  s->out_w = step.out.w;
  s->cell_blocks = cell_blocks(step);
  CellPanel& p = s->panel;
  p.y = {step.in.h, 1, step.window.pad_top, 1, h.rows * kTile + 2};
  p.in_w = step.in.w;
  p.out_w = h.width;
  p.stride = p.dilation = p.kernel_w = 1;
  p.pad = step.window.pad_left;
  p.folded = false;
  p.folded_rows = 1;
  p.block = plane_pixels(p) * kBlockCells;
  const int tiles = h.rows * h.tiles_x;
  for (int b = 0; b < s->cell_blocks; ++b) {
    pieces[b] = {b * tiles * kBlockCells, ceil_div(imin(kBlockCells, step.in.c - b * kBlockCells), kStep)};
  }
  s->pieces = {pieces, s->cell_blocks, static_cast<ptrdiff_t>(h.weights)};
  auto* weights = reinterpret_cast<Weight*>(place.weights);
  auto* numbers = reinterpret_cast<int32_t*>(reinterpret_cast<uint8_t*>(weights) + weight_bytes(h));
  pack(step, h, weights, numbers);
  s->weights = weights;
  s->zeros = numbers + requantize_bytes(h) / sizeof(int32_t);
  int32_t* scales = numbers + requantize_bytes(h) / sizeof(int32_t) + 2 * kLanes;
  s->source = {ranges, step.in.segment_count, step.in.c, step.quant->in_zero,
               make_scales(step.quant->channels, step.in.c, scales)};
  s->finish = make_finish(step, place.arena, make_requantize(step, numbers, 0));
  return nullptr;
}

// One dimension of the transform of the input.
SPARSENET_INLINE void transform_input(const Words (&d)[kWindow], Words (&t)[kWindow]) {
  const Words a = d[4] - (d[2] << 2), b = d[3] - (d[1] << 2), c = d[4] - d[2], half = d[3] - d[1], e = half + half;
  t[0] = ((d[0] - d[2]) << 2) + c;
  t[1] = a + b;
  t[2] = a - b;
  t[3] = c + e;
  t[4] = c - e;
  t[5] = d[5] - d[3] - (e + e);
}

// One dimension of the transform of the output.
SPARSENET_INLINE void transform_output(const VU (&m)[kWindow], VU (&y)[kTile]) {
  const VU p = m[1] + m[2], q = m[1] - m[2], r = m[3] + m[4], t = m[3] - m[4], t2 = t + t;
  y[0] = m[0] + p + r;
  y[1] = q + t2;
  y[2] = p + (r << 2);
  y[3] = q + (t2 << 2) + (m[5] + m[5]);
}

template <class Vector, class Element>
SPARSENET_INLINE Vector load_as(const Element* from) {
  Vector v;
  memcpy(&v, from, sizeof v);
  return v;
}

// Transforms kWords channels of one tile, whose first pixel is at `x`, into the planes at `to`.
SPARSENET_INLINE void input_tile(const Cell* x, ptrdiff_t row, Cell* to, ptrdiff_t plane) {
  Words t[kWindow][kWindow];
#pragma GCC unroll 6
  for (int j = 0; j < kWindow; ++j) {
    Words d[kWindow], column[kWindow];
#pragma GCC unroll 6
    for (int i = 0; i < kWindow; ++i) d[i] = load_as<Words>(x + i * row + j * kBlockCells);
    transform_input(d, column);
#pragma GCC unroll 6
    for (int i = 0; i < kWindow; ++i) t[i][j] = column[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < kWindow; ++i) {
    Words y[kWindow];
    transform_input(t[i], y);
#pragma GCC unroll 6
    for (int j = 0; j < kWindow; ++j) memcpy(to + (i * kWindow + j) * plane, &y[j], sizeof y[j]);
  }
}

__attribute__((noinline)) void input_transform(const State& s, int rows, const Cell* panel, Cell* to) {
  const Shape& h = s.shape;
  const ptrdiff_t row = ptrdiff_t{h.width} * kBlockCells;
  for (int b = 0; b < s.cell_blocks; ++b) {
    const int cells = imin(kBlockCells, s.source.channels - b * kBlockCells);
    for (int ty = 0; ty < rows; ++ty) {
      for (int tx = 0; tx < h.tiles_x; ++tx) {
        const Cell* x = panel + b * s.panel.block + kTile * (ty * row + ptrdiff_t{tx} * kBlockCells);
        Cell* y = to + s.pieces.list[b].offset + (ptrdiff_t{ty} * h.tiles_x + tx) * kBlockCells;
        for (int c = 0; c < cells; c += kWords) input_tile(x + c, row, y + c, static_cast<ptrdiff_t>(h.plane));
      }
    }
  }
}

// The sums of one tile and vector of outputs: those of a row of pixels `row` elements after those of the row above.
SPARSENET_INLINE void output_tile(const int32_t* from, ptrdiff_t plane, VI bias, int32_t* to, ptrdiff_t row,
                                  ptrdiff_t pixel) {
  VU t[kTile][kWindow];
#pragma GCC unroll 6
  for (int j = 0; j < kWindow; ++j) {
    VU m[kWindow], y[kTile];
#pragma GCC unroll 6
    for (int i = 0; i < kWindow; ++i) m[i] = load_as<VU>(from + (i * kWindow + j) * plane);
    transform_output(m, y);
#pragma GCC unroll 4
    for (int i = 0; i < kTile; ++i) t[i][j] = y[i];
  }
#pragma GCC unroll 4
  for (int i = 0; i < kTile; ++i) {
    VU y[kTile];
    transform_output(t[i], y);
#pragma GCC unroll 4
    for (int j = 0; j < kTile; ++j) {
      const VI sum = reinterpret_cast<VI>(y[j] * static_cast<uint32_t>(kInverseOf9)) >> 6;
      store_vi(to + i * row + j * pixel, added_vi(sum, bias));
    }
  }
}

// The outputs of a row of tiles, for the vectors of outputs from `block` on.
__attribute__((noinline)) void output_transform(const State& s, int blocks, int block, int y, int64_t pixel,
                                                const int32_t* from, int32_t* sums) {
  const Shape& h = s.shape;
  const ptrdiff_t step = ptrdiff_t{blocks} * kLanes, row = h.tiles_x * kTile * step;
  for (int b = 0; b < blocks; ++b) {
    const VI bias = load_vi(s.finish.requantize.bias + (block + b) * kLanes);
    for (int tx = 0; tx < h.tiles_x; ++tx) {
      output_tile(from + tx * step + b * kLanes, static_cast<ptrdiff_t>(h.products), bias,
                  sums + tx * kTile * step + b * kLanes, row, step);
    }
  }
  for (int i = 0; i < imin(kTile, s.out_h - y); ++i) {
    finish_tile(s.finish, sums + i * row, s.out_w, blocks, block * kLanes, pixel + int64_t{i} * s.out_w);
  }
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  const Shape& h = s.shape;
  const int image = chunk / h.bands, first = chunk % h.bands * h.rows, rows = imin(h.rows, h.tiles_y - first);
  auto* panel = static_cast<Cell*>(scratch);
  Cell* inputs = panel + h.panel;
  auto* products = reinterpret_cast<int32_t*>(inputs + kPlanes * h.plane);
  int32_t* sums = products + kPlanes * h.products;
  fill_cell_panel(s.source, s.panel, image, first * kTile, rows * kTile + 2, panel);
  input_transform(s, rows, panel, inputs);
  const int tiles = rows * h.tiles_x;
  for (int block = 0; block < h.blocks; block += 2) {
    const int blocks = imin(2, h.blocks - block), step = blocks * kLanes;
    const int tile = ceil_div(tiles, ceil_div(tiles, tile_most(blocks)));
    for (int f = 0; f < kPlanes; ++f) {
      const Weight* w = s.weights + (ptrdiff_t{f} * h.blocks + block) * s.pieces.block;
      for (int t = 0; t < tiles; t += tile) {
        multiply_tile(imin(tile, tiles - t), blocks, s.pieces, inputs + f * h.plane + ptrdiff_t{t} * kBlockCells, w,
                      s.zeros, products + f * h.products + ptrdiff_t{t} * step);
      }
    }
    for (int r = 0; r < rows; ++r) {
      const int y = (first + r) * kTile;
      output_transform(s, blocks, block, y, (int64_t{image} * s.out_h + y) * s.out_w,
                       products + ptrdiff_t{r} * h.tiles_x * step, sums);
    }
  }
}

}  // namespace

const Kernel kIntegerWinograd = {
    .name = "conv2d_winograd_s8_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .types = kInt8,
    .copies_parameters = true,
};

}  // namespace sparsenet::rt::SPARSENET_ISA

#endif

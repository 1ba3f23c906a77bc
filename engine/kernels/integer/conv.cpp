// Convolutions of int8, also fully connected layers. A chunk is a band of output rows of one image and a range of
// outputs; a 1x1 convolution takes all pixels of the batch as one column. The input pixels that a chunk needs are
// gathered into a panel of cells, where padding and channel ranges are done once; tiles of pixels times outputs walk
// along it. Sums are exact, so their order does not matter, and every instruction set gives the same bits.
#include "kernels/integer/cells.h"
#include "kernels/integer/finish.h"
#include "kernels/integer/walk.h"
#include "kernels/portable/cut.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

struct State {
  CellSource source;
  CellPanel panel;
  Images images;
  Cut cut;
  Pieces pieces;
  const Weight* weights;
  Finish finish;
  int32_t all_blocks;
  int32_t row;  // pixels of a row of the panel
  int32_t panel_cells;
  bool in_place;  // reads_cells()
};

bool is_folded(const Step& s) {
  return s.window.kernel_w > 1 && int64_t{s.window.kernel_w} * s.in.c <= kBlockCells;
}

// Rows of taps that are channels of one plane. AMX multiplies whole blocks of cells, so it is worth it to fill them.
int32_t folded_rows(const Step& s) {
  return kTiles && is_folded(s) ? imin(kBlockCells / (s.window.kernel_w * s.in.c), s.window.kernel_h) : 1;
}

int32_t plane_rows(const Step& s) {
  return ceil_div(s.window.kernel_h, folded_rows(s));
}

int32_t cells_of(const Step& s) {
  return is_folded(s) ? folded_rows(s) * s.window.kernel_w * s.in.c : s.in.c;
}

// Whether the taps of a window's row read the same plane, in which pixels are as in the image: it is a fraction of the
// size, and tiles compute a few pixels between rows for nothing. This is for AMX, which is faster than what the
// second-level cache gives.
bool shares_plane(const Step& s) {
  if (!kTiles || is_folded(s) || s.window.kernel_w == 1 || s.window.stride_w != 1) return false;
  const auto tiles = [](int64_t pixels) { return (pixels + kTilePixels2 - 1) / kTilePixels2; };
  const int64_t reach = int64_t{s.window.kernel_w - 1} * s.window.dilation_w;
  return tiles(s.out.h * (s.out.w + reach) - reach) * 7 <= tiles(int64_t{s.out.h} * s.out.w) * 8;
}

// Whether tiles can be loaded from the image itself, as signed bytes: where blocks of cells are of one pixel each, and
// whole.
bool reads_cells(const Step& s) {
  return kTiles && is_pointwise(s) && s.in.segment_count == 1 && !s.in.segments[0].constant && !s.quant->channels &&
         s.in.c % kBlockCells == 0 && ceil_div(s.out.c, kLanes) % 2 == 0;
}

CellPanel panel_of(const Step& s, int rows) {
  const Window& w = s.window;
  const Images i = images_of(s);
  CellPanel p{};
  p.folded_rows = folded_rows(s);
  p.row_dilation = w.dilation_h;
  p.y = phased_axis(i.in_h, plane_rows(s), w.stride_h, folded_rows(s) * w.dilation_h, w.pad_top, rows);
  p.in_w = i.in_w;
  p.out_w = i.out_w;
  p.stride = w.stride_w;
  p.dilation = w.dilation_w;
  p.pad = w.pad_left;
  p.kernel_w = w.kernel_w;
  p.folded = is_folded(s);
  if (shares_plane(s)) {
    p.out_w += (w.kernel_w - 1) * w.dilation_w;
    p.dilation = p.kernel_w = 1;
  }
  p.block = planes_of(p) * plane_pixels(p) * kBlockCells;
  return p;
}

int32_t piece_count(const Step& s) {
  return plane_rows(s) * (is_folded(s) ? 1 : s.window.kernel_w) * ceil_div(cells_of(s), kBlockCells);
}

// Steps of all pieces.
int64_t steps_of(const Step& s) {
  const int cells = cells_of(s), whole = cells / kBlockCells, rest = cells % kBlockCells;
  const int planes = is_folded(s) ? 1 : s.window.kernel_w;
  return int64_t{plane_rows(s)} * planes * (whole * (kBlockCells / kStep) + (rest > 0 ? steps_for(rest) : 0));
}

int64_t block_weights(const Step& s) {
  return steps_of(s) * kStep * kLanes;
}

int64_t weight_bytes(const Step& s) {
  return ceil_div(s.out.c, kLanes) * block_weights(s) * static_cast<int64_t>(sizeof(Weight));
}

int64_t row_bytes(const Step& s) {
  const CellPanel p = panel_of(s, 1);
  return int64_t{planes_of(p)} * p.y.phases * p.out_w * ceil_div(cells_of(s), kBlockCells) * 64;
}

Cut cut_of(const Step& s) {
  const Images i = images_of(s);
  CutNeeds needs{s.out.c, i.out_w, weight_bytes(s), row_bytes(s), 0, 256, 127};
  if constexpr (kTiles) {  // to begin a band takes longer
    needs.more_rows = panel_of(s, 0).y.length;
    needs.band_pixels = 512;
  }
  if (reads_cells(s)) {  // nothing to gather again
    needs.band_pixels = 1024;
    needs.few_pixels = 256;
  }
  return cut_of(i, needs);
}

int64_t panel_cells(const Step& s) {
  const int64_t tile = reads_cells(s) ? int64_t{kTilePixels2} * s.in.c : 0;
  return panel_of(s, cut_of(s).rows).block * int64_t{ceil_div(cells_of(s), kBlockCells)} + kCellsBeyond + tile;
}

// Whole tiles of pixels: see Walk.
int64_t places_of(const Step& s) {
  if (!kTiles) return 0;
  const CellPanel p = panel_of(s, 1);
  return (int64_t{cut_of(s).rows} * p.out_w + kTilePixels2) / kTilePixels2 * kTilePixels2;
}

// Whether a row of the panel is of a sensible size, so that no product below leaves 64 bits.
bool row_fits(const Step& s) {
  const Window& w = s.window;
  int64_t cells = kBlockCells;
  const int64_t factors[] = {is_folded(s) ? 1 : w.kernel_w, imin(w.stride_h, (w.kernel_h - 1) * w.dilation_h + 1),
                             images_of(s).out_w, ceil_div(cells_of(s), kBlockCells)};
  for (const int64_t factor : factors) {
    if (factor > kMostElements / cells) return false;
    cells *= factor;
  }
  return true;
}

// AMX's tiles are worth it if they are filled, all the more where there is one product of tiles for each tile of sums:
// with fewer channels or pixels, dot products of vectors are faster.
bool fills_tiles(const Step& s) {
  const bool one = s.window.kernel_h == 1 && s.window.kernel_w == 1;
  return !kTiles || (cells_of(s) >= (one ? 32 : 16) && pixels_of(s.out) >= 8);
}

bool supports(const Step& s) {
  if (s.op != StepOp::kConv || !s.quant || s.conv.groups != 1 || !residual_supported(s)) return false;
  if (s.out.segment_count != 1 || pixels_of(s.out) >= kMostElements || s.in.type != DataType::kInt8) return false;
  if (!row_fits(s) || !fills_tiles(s)) return false;
  return chunks_of(images_of(s), cut_of(s)) < 65000 && panel_cells(s) < kMostElements &&
         block_weights(s) < kMostElements;
}

size_t requantize_bytes(const Step& s) {
  return size_t{3} * static_cast<size_t>(ceil_div(s.out.c, kLanes)) * kLanes * sizeof(int32_t);
}

void query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(State) + static_cast<size_t>(s.in.segment_count) * sizeof(ByteRange) +
                       static_cast<size_t>(piece_count(s)) * sizeof(Piece);
  needs->weight_bytes =
      static_cast<uint64_t>(weight_bytes(s)) + requantize_bytes(s) + (s.quant->channels ? scales_bytes(s.in.c) : 0);
  needs->scratch_bytes =
      static_cast<uint64_t>(panel_cells(s)) * sizeof(Cell) + static_cast<uint64_t>(places_of(s)) * sizeof(int32_t);
  needs->chunks = static_cast<int32_t>(chunks_of(images_of(s), cut_of(s)));
}

// Calls visit(row of taps, tap, first channel, channels, cell within the piece, piece) for every run of channels of a
// tap that is in one piece.
template <class Visit>
void for_each_run(const Step& s, Visit visit) {
  const bool folded = is_folded(s);
  const int blocks = ceil_div(cells_of(s), kBlockCells), rows = folded_rows(s);
  for (int ky = 0; ky < s.window.kernel_h; ++ky) {
    for (int kx = 0; kx < s.window.kernel_w; ++kx) {
      for (int b = 0; b < blocks; ++b) {
        const int piece = folded ? ky / rows : (ky * s.window.kernel_w + kx) * blocks + b;
        const int channels = folded ? s.in.c : imin(kBlockCells, s.in.c - b * kBlockCells);
        visit(ky, kx, b * kBlockCells, channels, folded ? (ky % rows * s.window.kernel_w + kx) * s.in.c : 0, piece);
      }
    }
  }
}

void make_pieces(const Step& s, const CellPanel& panel, Piece* pieces) {
  const Window& w = s.window;
  const bool shared = shares_plane(s);
  const int rows = folded_rows(s);
  for_each_run(s, [&](int ky, int kx, int channel, int channels, int cell, int piece) {
    const int tap = (ky - ky % rows) * w.dilation_h, plane = planes_of(panel) == 1 ? 0 : kx,
              column = shared ? kx * w.dilation_w : 0;
    const ptrdiff_t row = (ptrdiff_t{plane} * panel.y.phases + tap % w.stride_h) * panel.y.length + tap / w.stride_h;
    const ptrdiff_t offset = channel / kBlockCells * panel.block + (row * panel.out_w + column) * kBlockCells;
    pieces[piece] = {static_cast<int32_t>(offset), steps_for(cell + channels)};
  });
}

// [vector of outputs][piece, step][output][kStep]; what is beyond the last channel or output stays zero. Returns the
// sum of every output's weights in `sums`.
void pack(const Step& s, const Piece* pieces, Weight* packed, int32_t* sums) {
  const auto* weight = static_cast<const int8_t*>(s.conv.weight.data);
  const int64_t taps = int64_t{s.window.kernel_h} * s.window.kernel_w, of_block = block_weights(s);
  for (int o = 0; o < s.out.c; ++o) {
    Weight* to = packed + o / kLanes * of_block + o % kLanes * kStep;
    const int8_t* from = weight + o * taps * s.in.c;
    int at = 0;  // the piece whose weights begin at `to`
    for_each_run(s, [&](int ky, int kx, int channel, int channels, int cell, int piece) {
      for (; at < piece; ++at) to += ptrdiff_t{pieces[at].steps} * kStep * kLanes;
      for (int c = 0; c < channels; ++c) {
        const int8_t w = from[(channel + c) * taps + ky * s.window.kernel_w + kx];
        to[(cell + c) / kStep * kStep * kLanes + (cell + c) % kStep] = w;
        sums[o] += w;
      }
    });
  }
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  auto* ranges = reinterpret_cast<ByteRange*>(s + 1);
  for (int32_t i = 0; i < step.in.segment_count; ++i) ranges[i] = byte_range(step.in.segments[i], place.arena);
  auto* pieces = reinterpret_cast<Piece*>(ranges + step.in.segment_count);
  s->images = images_of(step);
  s->cut = cut_of(step);
  s->panel = panel_of(step, s->cut.rows);
  make_pieces(step, s->panel, pieces);
  s->pieces = {pieces, piece_count(step), static_cast<ptrdiff_t>(block_weights(step))};
  s->all_blocks = ceil_div(step.out.c, kLanes);
  s->row = shares_plane(step) ? s->panel.out_w : s->images.out_w;
  s->panel_cells = static_cast<int32_t>(panel_cells(step));
  auto* weights = reinterpret_cast<Weight*>(place.weights);
  auto* numbers = reinterpret_cast<int32_t*>(reinterpret_cast<uint8_t*>(weights) + weight_bytes(step));
  pack(step, pieces, weights, numbers);
  s->weights = weights;
  int32_t* scales = numbers + requantize_bytes(step) / sizeof(int32_t);
  s->source = {ranges, step.in.segment_count, step.in.c, step.quant->in_zero,
               make_scales(step.quant->channels, step.in.c, scales)};
  s->in_place = reads_cells(step);
  const int32_t zero = s->in_place ? step.quant->in_zero : kByteCells ? cell_of_zero(step.quant->in_zero) : 0;
  s->finish = make_finish(step, place.arena, make_requantize(step, numbers, zero));
  for (int32_t b = 0; s->in_place && b < s->pieces.count; ++b) pieces[b].offset = b * kBlockCells;
  return nullptr;
}

// Finishes the sums of `count` pixels from pixel `p` of the part on, but not of those between rows.
SPARSENET_INLINE void finish_pixels(const State& s, const int32_t* sums, int p, int count, int blocks, int first,
                                    int64_t first_pixel) {
  const int out_w = s.images.out_w;
  if (s.row == out_w) {
    finish_tile(s.finish, sums, count, blocks, first, first_pixel + p);
    return;
  }
  for (int at = p; at < p + count;) {
    const int row = at / s.row, column = at % s.row, of_row = imin(p + count - at, s.row - column);
    const int inside = imin(of_row, out_w - column);
    if (inside > 0) {
      finish_tile(s.finish, sums + (at - p) * blocks * kLanes, inside, blocks, first,
                  first_pixel + int64_t{row} * out_w + column);
    }
    at += of_row;
  }
}

// What a chunk works on.
struct Work {
  Part part;
  Cell* panel;
  int32_t* places;  // see Walk
  int pixels;
  int64_t first_pixel;
};

// Computes the part's vectors of outputs from `begin` on.
__attribute__((noinline)) void compute(const State& s, const Work& w, int begin) {
  alignas(64) int32_t sums[kTileSums] = {};
  for (int block = begin; block < w.part.end; block += 2) {
    const int blocks = imin(2, w.part.end - block), tile = tile_pixels(w.pixels, blocks);
    const Weight* weights = s.weights + block * s.pieces.block;
    for (int p = 0; p < w.pixels; p += tile) {
      const int count = imin(tile, w.pixels - p);
      const Cell* x = w.panel + ptrdiff_t{p} * kBlockCells;
      multiply_tile(count, blocks, s.pieces, x, weights, s.finish.requantize.bias + block * kLanes, sums);
      finish_pixels(s, sums, p, count, blocks, block * kLanes, w.first_pixel);
    }
  }
}

#if defined(__AMX_INT8__)
// The vectors of outputs [part.begin, end), an even number of them.
__attribute__((noinline)) void compute_pairs(const State& s, const Work& w, int end) {
  const int whole = w.pixels / kTilePixels2 * kTilePixels2;
  const Cell* last = w.panel + ptrdiff_t{whole} * kBlockCells;
  Walk walk{&s.finish, s.pieces, s.weights, w.pixels, w.places, w.panel, kBlockCells, last, kBlockCells};
  if (s.in_place) {
    const ByteRange& image = s.source.ranges[0];
    walk.cells = reinterpret_cast<const Cell*>(image.base) + w.first_pixel * image.pixel_stride;
    walk.pixel = image.pixel_stride;
    walk.last = w.panel;
    walk.last_pixel = image.channels;
    // What is behind the last pixel may not be read, so an incomplete tile is copied.
    for (int p = whole; p < w.pixels; ++p) {
      memcpy(w.panel + ptrdiff_t{p - whole} * image.channels, walk.cells + p * walk.pixel,
             static_cast<size_t>(image.channels));
    }
  }
  if (finishes_meanwhile(walk)) {
    auto place = static_cast<int32_t>(w.first_pixel);
    for (int p = 0; p < w.pixels; p += s.row) {
      for (int x = 0; x < s.images.out_w; ++x) w.places[p + x] = place++;
      for (int x = s.images.out_w; x < s.row; ++x) w.places[p + x] = -1;
    }
    for (int p = w.pixels; p % kTilePixels2 != 0; ++p) w.places[p] = -1;
  }
  const auto finish = [&](const int32_t* sums, int p, int count, int block) {
    finish_pixels(s, sums, p, count, 2, block * kLanes, w.first_pixel);
  };
  s.in_place ? walk_tiles<SignedProducts>(walk, w.part.begin, end, finish)
             : walk_tiles<CellProducts>(walk, w.part.begin, end, finish);
}
#endif

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  const Part part = part_of(s.images, s.cut, s.all_blocks, chunk);
  auto* panel = static_cast<Cell*>(scratch);
  if (!s.in_place) {
    fill_cell_panel(s.source, s.panel, part.image, part.y0, s.panel.y.length - (s.cut.rows - part.rows), panel);
  }
  const int pixels = (part.rows - 1) * s.row + s.images.out_w;
  const int64_t first_pixel = (int64_t{part.image} * s.images.out_h + part.y0) * s.images.out_w;
  const Work work{part, panel, reinterpret_cast<int32_t*>(panel + s.panel_cells), pixels, first_pixel};
  int begin = part.begin;
  begin_tiles();
#if defined(__AMX_INT8__)
  begin = part.end - (part.end - part.begin) % 2;
  if (begin > part.begin) compute_pairs(s, work, begin);
#endif
  if (begin < part.end) compute(s, work, begin);
  end_tiles();
}

}  // namespace

const Kernel kIntegerConv = {
    .name = "conv2d_s8_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .types = kInt8,
    .copies_parameters = true,
};

}  // namespace sparsenet::rt::SPARSENET_ISA

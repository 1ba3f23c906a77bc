// The register tile of convolutions of int8: pixels of a panel (cells.h) times one or two vectors of outputs.
#pragma once

#include "kernels/integer/vectors.h"
#include "kernels/portable/amx.h"

namespace sparsenet::rt::SPARSENET_ISA {

// Most pixels of a tile with one and with two vectors of outputs.
#if defined(__AMX_INT8__)
constexpr int kTilePixels1 = 32, kTilePixels2 = 32;
#elif defined(__AVX512F__)
constexpr int kTilePixels1 = 14, kTilePixels2 = 14;
#elif defined(__aarch64__)
constexpr int kTilePixels1 = 16, kTilePixels2 = 12;
#else
constexpr int kTilePixels1 = 12, kTilePixels2 = 6;
#endif
// finish_tile() reads whole groups of four vectors.
constexpr int kTileSums = ((kTilePixels1 > 2 * kTilePixels2 ? kTilePixels1 : 2 * kTilePixels2) + 3) * kLanes;

constexpr int kPrefetch = 16;  // vectors of weights

// AMX multiplies whole blocks of cells of 16 pixels. What lies beyond a tile's pixels is read, and counts for nothing.
#if defined(__AMX_INT8__)
constexpr bool kTiles = true;
constexpr int kLeastSteps = kBlockCells / kStep, kCellsBeyond = (kTileRows - 1) * kBlockCells;
#else
constexpr bool kTiles = false;
constexpr int kLeastSteps = 1, kCellsBeyond = 0;
#endif

// Steps of a piece of `cells` cells.
SPARSENET_INLINE int32_t steps_for(int cells) {
  return imax(ceil_div(cells, kStep), kLeastSteps);
}

// Cells of a pixel that follow each other in the panel.
struct Piece {
  int32_t offset;  // from the panel's beginning
  int32_t steps;
};

struct Pieces {
  const Piece* list;
  int32_t count;
  ptrdiff_t block;  // weights of one vector of outputs
};

SPARSENET_INLINE int tile_most(int blocks) {
  return blocks == 2 ? kTilePixels2 : kTilePixels1;
}

// Pixels of a tile where there are `pixels`: tiles of about the same size.
SPARSENET_INLINE int tile_pixels(int pixels, int blocks) {
  if constexpr (kTiles) return tile_most(blocks);
  return ceil_div(pixels, ceil_div(pixels, tile_most(blocks)));
}

#if defined(__AMX_INT8__)

// Of cells, or of signed bytes.
struct CellProducts {
  static SPARSENET_INLINE void pixels_4_weights_6() { _tile_dpbusd(0, 4, 6); }
  static SPARSENET_INLINE void pixels_4_weights_7() { _tile_dpbusd(1, 4, 7); }
  static SPARSENET_INLINE void pixels_5_weights_6() { _tile_dpbusd(2, 5, 6); }
  static SPARSENET_INLINE void pixels_5_weights_7() { _tile_dpbusd(3, 5, 7); }
};
struct SignedProducts {
  static SPARSENET_INLINE void pixels_4_weights_6() { _tile_dpbssd(0, 4, 6); }
  static SPARSENET_INLINE void pixels_4_weights_7() { _tile_dpbssd(1, 4, 7); }
  static SPARSENET_INLINE void pixels_5_weights_6() { _tile_dpbssd(2, 5, 6); }
  static SPARSENET_INLINE void pixels_5_weights_7() { _tile_dpbssd(3, 5, 7); }
};
static_assert(kBlockCells * sizeof(Cell) == kTileRowBytes, "a tile of pixels");

// `sums`: [P * kTileRows][B][kLanes], which begin with `bias`. Weights: [piece][kLeastSteps][output][kStep].
// Pixels are `pixel` bytes apart.
template <int P, int B, class Products>
__attribute__((noinline)) void multiply(const Pieces& pieces, const Cell* x, const Weight* w, const int32_t* bias,
                                        int32_t* sums, ptrdiff_t pixel) {
  repeat_sums<P, B>(bias);
  for (int32_t i = 0; i < pieces.count; ++i, w += kBlockCells * kLanes) {
    add_products<P, B, Products>(x + pieces.list[i].offset, w, pieces.block, pixel);
  }
  store_sums<P, B>(sums);
}

template <class Products = CellProducts>
SPARSENET_INLINE void multiply_tile(int count, int blocks, const Pieces& pieces, const Cell* x, const Weight* w,
                                    const int32_t* bias, int32_t* sums, ptrdiff_t pixel = kBlockCells) {
  if (count > kTileRows) {
    blocks == 2 ? multiply<2, 2, Products>(pieces, x, w, bias, sums, pixel)
                : multiply<2, 1, Products>(pieces, x, w, bias, sums, pixel);
  } else {
    blocks == 2 ? multiply<1, 2, Products>(pieces, x, w, bias, sums, pixel)
                : multiply<1, 1, Products>(pieces, x, w, bias, sums, pixel);
  }
}

#else

// `sums`: [P][B][kLanes], which begin with `bias`. Weights: [piece, step][output][kStep].
template <int P, int B>
__attribute__((noinline)) void multiply(const Pieces& pieces, const Cell* x, const Weight* w, const int32_t* bias,
                                        int32_t* sums) {
  VI acc[P][B];
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) acc[p][b] = load_vi(bias + b * kLanes);
  }
  const ptrdiff_t block = pieces.block;
  const Piece* const end = pieces.list + pieces.count;
  for (const Piece* piece = pieces.list; piece != end; ++piece) {
    const Cell* at = x + piece->offset;
    for (const Cell* const last = at + ptrdiff_t{piece->steps} * kStep; at != last; at += kStep, w += kStep * kLanes) {
      WeightVector wv[B];
#pragma GCC unroll 2
      for (int b = 0; b < B; ++b) {
        wv[b] = load_weights(w + b * block);
        // Where weights are used for few pixels, reading them is what takes time.
        if constexpr (P <= 2) __builtin_prefetch(w + b * block + kPrefetch * kStep * kLanes);
      }
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const Cells cells = load_cells(at + p * kBlockCells);
#pragma GCC unroll 2
        for (int b = 0; b < B; ++b) acc[p][b] = dot(acc[p][b], cells, wv[b]);
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) store_vi(sums + (p * B + b) * kLanes, acc[p][b]);
  }
}

// The tile of `count` pixels, at most P.
template <int P, int B>
SPARSENET_INLINE void multiply_some(int count, const Pieces& pieces, const Cell* x, const Weight* w,
                                    const int32_t* bias, int32_t* sums) {
  if constexpr (P > 1) {
    if (count < P) return multiply_some<P - 1, B>(count, pieces, x, w, bias, sums);
  }
  multiply<P, B>(pieces, x, w, bias, sums);
}

SPARSENET_INLINE void multiply_tile(int count, int blocks, const Pieces& pieces, const Cell* x, const Weight* w,
                                    const int32_t* bias, int32_t* sums) {
  blocks == 2 ? multiply_some<kTilePixels2, 2>(count, pieces, x, w, bias, sums)
              : multiply_some<kTilePixels1, 1>(count, pieces, x, w, bias, sums);
}

#endif

}  // namespace sparsenet::rt::SPARSENET_ISA

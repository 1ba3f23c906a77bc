// The walk along the tiles of a chunk with AMX. While one tile is multiplied, the sums of the one before it become
// bytes, because products of tiles have a unit of their own.
#pragma once

#include "kernels/integer/finish.h"
#include "kernels/integer/tile.h"

namespace sparsenet::rt::SPARSENET_ISA {

#if defined(__AMX_INT8__)

struct Walk {
  const Finish* finish;
  Pieces pieces;
  const Weight* weights;  // of all vectors of outputs
  int pixels;
  const int32_t* places;  // the pixel of the output for each of them, up to the end of the last tile; -1: none
  const Cell* cells;      // of the first pixel; the others' are `pixel` cells apart
  ptrdiff_t pixel;
  const Cell* last;  // the same for the last tile, if it is not whole
  ptrdiff_t last_pixel;
};

// A tile whose sums wait.
struct Waiting {
  const int32_t* sums;
  const int32_t* places;
  int pairs;  // of pixels
  int first;  // output
};

// A tile of the walk, for two vectors of outputs.
struct WalkedTile {
  int p, count;  // its pixels
  int block;     // its first vector of outputs
  const Cell* x;
  ptrdiff_t pixel;
  const Weight* weights;
  const int32_t* bias;
  Ahead ahead;
};

// What one of `tiles` tiles asks for of the weights of two vectors of outputs, from `block` on, so that all of them are
// in the cache when their turn comes.
SPARSENET_INLINE Ahead ahead_of(const Walk& w, int block, int tile, int tiles) {
  constexpr int kLines = 2 * kTileRows;
  const int lines = ceil_div(kLines, tiles);
  if (tile * lines >= kLines) return {nullptr, 0};
  const Weight* next = w.weights + block * w.pieces.block;
  return {reinterpret_cast<const uint8_t*>(next) + ptrdiff_t{tile} * lines * w.pieces.count * kTileRowBytes, lines};
}

// Calls visit(WalkedTile) for all tiles and the vectors of outputs [begin, end), an even number of them. Those of which
// the weights stay in the first-level cache are taken in turns for one tile before the next one, so that outputs of a
// pixel are written together.
template <class Visit>
SPARSENET_INLINE void for_each_tile(const Walk& w, int begin, int end, Visit visit) {
  constexpr int kGroupBytes = 24 * 1024;
  const int tiles = ceil_div(w.pixels, kTilePixels2);
  const int most = 2 * imax(1, kGroupBytes / (w.pieces.count * 2 * kTileRows * kTileRowBytes));
  for (int group = begin, blocks; group < end; group += blocks) {
    blocks = imin(most, end - group);
    for (int t = 0; t < tiles; ++t) {
      const int p = t * kTilePixels2, count = imin(kTilePixels2, w.pixels - p);
      const bool whole = count == kTilePixels2;
      for (int block = group; block < group + blocks; block += 2) {
        visit(WalkedTile{p, count, block, whole ? w.cells + p * w.pixel : w.last, whole ? w.pixel : w.last_pixel,
                         w.weights + block * w.pieces.block, w.finish->requantize.bias + block * kLanes,
                         ahead_of(w, block + blocks, t, tiles)});
      }
    }
  }
}

// Finishes pairs of pixels, one after the other.
template <Form kForm, bool kAdds, class Add>
struct PairFinisher {
  Finisher<kForm, 2, kAdds, Add> finisher;
  const int32_t *sums, *places;
  int left;
  __mmask32 mask;
  int8_t *out, *nowhere;
  const int8_t* residual;
  ptrdiff_t stride, residual_stride;

  SPARSENET_INLINE PairFinisher(const Finish& f, const Add& add, const Waiting& waiting, int8_t* spare)
      : finisher(f, add, waiting.first),
        sums(waiting.sums),
        places(waiting.places),
        left(waiting.pairs),
        mask(0xffffffffu >> imax(0, waiting.first + 2 * kLanes - f.outputs)),
        out(f.out + waiting.first),
        nowhere(spare),
        residual(kAdds ? f.residual.from + waiting.first : nullptr),
        stride(f.out_stride),
        residual_stride(f.residual.stride) {}

  SPARSENET_INLINE void store(int32_t place, __m256i bytes) const {
    if (place < 0) return;
    if (mask == 0xffffffffu) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + place * stride), bytes);
    } else {
      _mm256_mask_storeu_epi8(out + place * stride, mask, bytes);
    }
  }

  SPARSENET_INLINE void next() {
    const int32_t first = places[0], second = places[1];
    const Bits bytes = finisher.bytes(sums, [&](int i) {
      const int32_t place = i < 2 ? first : second;
      const int8_t* from = place < 0 ? nowhere : residual + place * residual_stride;
      if (i % 2 == 0) return load_whole_bytes(from);
      const auto upper = static_cast<__mmask16>(mask >> kLanes);
      return reinterpret_cast<VI>(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(upper, from + kLanes)));
    });
    store(first, _mm512_castsi512_si256(bytes));
    store(second, _mm512_extracti64x4_epi64(bytes, 1));
    sums += 4 * kLanes;
    places += 2;
    --left;
  }
};

// Multiplies P tiles of pixels with two vectors of outputs, and finishes what waits.
template <class Products, int P, Form kForm, bool kAdds, class Add>
__attribute__((noinline)) void multiply_and_finish(const Walk& walk, const WalkedTile& tile, const Add& add,
                                                   int32_t* sums, const Waiting& waiting, int8_t* nowhere) {
  PairFinisher<kForm, kAdds, Add> finisher(*walk.finish, add, waiting, nowhere);
  const Piece *piece = walk.pieces.list, *const end = piece + walk.pieces.count;
  const ptrdiff_t block = walk.pieces.block, pixel = tile.pixel;
  const int each = ceil_div(finisher.left, walk.pieces.count);
  const Cell* x = tile.x;
  const Weight* w = tile.weights;
  Ahead ahead = tile.ahead;
  repeat_sums<P, 2>(tile.bias);
  for (; piece != end; ++piece, w += kBlockCells * kLanes) {
    ahead.ask();
    add_products<P, 2, Products>(x + piece->offset, w, block, pixel);
    for (int i = 0; i < each && finisher.left > 0; ++i) finisher.next();
  }
  store_sums<P, 2>(sums);
}

template <class Products, Form kForm, bool kAdds, class Add>
void walk_as(const Walk& w, const Add& add, int begin, int end) {
  alignas(64) int32_t sums[2][kTileSums];
  alignas(64) int8_t nowhere[2 * kLanes] = {};
  Waiting waiting{sums[1], w.places, 0, begin * kLanes};
  int turn = 0;
  for_each_tile(w, begin, end, [&](const WalkedTile& tile) {
    if (tile.count > kTileRows) {
      multiply_and_finish<Products, 2, kForm, kAdds>(w, tile, add, sums[turn], waiting, nowhere);
    } else {
      multiply_and_finish<Products, 1, kForm, kAdds>(w, tile, add, sums[turn], waiting, nowhere);
    }
    waiting = {sums[turn], w.places + tile.p, ceil_div(tile.count, 2), tile.block * kLanes};
    turn ^= 1;
  });
  PairFinisher<kForm, kAdds, Add> finisher(*w.finish, add, waiting, nowhere);
  while (finisher.left > 0) finisher.next();
}

// Whether tiles are finished while others are multiplied: for few products or unusual forms it is not worth it.
SPARSENET_INLINE bool finishes_meanwhile(const Walk& w) {
  constexpr int kLeastPieces = 4;
  const Form form = w.finish->requantize.form;
  return w.pieces.count >= kLeastPieces && (form == Form::kHighSingle || form == Form::kHighDouble);
}

// Computes the vectors of outputs [begin, end), an even number of them. finish(sums, pixel, count, vector) is for tiles
// that are finished by themselves.
template <class Products, class F>
SPARSENET_INLINE void walk_tiles(const Walk& w, int begin, int end, F finish) {
  if (!finishes_meanwhile(w)) {
    alignas(64) int32_t sums[kTileSums];
    for_each_tile(w, begin, end, [&](const WalkedTile& tile) {
      multiply_tile<Products>(tile.count, 2, w.pieces, tile.x, tile.weights, tile.bias, sums, tile.pixel);
      finish(sums, tile.p, tile.count, tile.block);
    });
    return;
  }
  const Residual& residual = w.finish->residual;
  const auto walk = [&](auto form) {
    constexpr Form kForm = decltype(form)::value;
    if (!residual.from) {
      walk_as<Products, kForm, false>(w, NotAdded{}, begin, end);
    } else if (residual.has_factors) {
      walk_as<Products, kForm, true>(w, added_reals_of(residual), begin, end);
    } else {
      walk_as<Products, kForm, true>(w, added_of(residual), begin, end);
    }
  };
  w.finish->requantize.form == Form::kHighSingle ? walk(FormTag<Form::kHighSingle>{})
                                                 : walk(FormTag<Form::kHighDouble>{});
}

#endif

}  // namespace sparsenet::rt::SPARSENET_ISA

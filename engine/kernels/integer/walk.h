// The walk along the tiles of a chunk with AMX: while one tile is multiplied, the sums of the one before it become
// bytes, because products of tiles have a unit of their own.
#pragma once

#include "kernels/integer/finish.h"
#include "kernels/integer/tile.h"

namespace sparsenet::rt::SPARSENET_ISA {

// The forms that walk_tiles() is for: the usual ones.
SPARSENET_INLINE bool is_walked(Form form) {
  return form == Form::kHighSingle || form == Form::kHighDouble;
}

#if defined(__AMX_INT8__)

struct Walk {
  const Finish* finish;
  Pieces pieces;
  const Weight* weights;  // of all vectors of outputs
  int pixels;
  const int32_t* places;  // where each pixel's outputs go, counted in pixels; -1: nowhere. Whole tiles, with more -1
  const Cell* cells;      // of the first pixel; the others' are `pixel` cells apart
  ptrdiff_t pixel;
  const Cell* last;  // the same of the last tile, if that is not whole
  ptrdiff_t last_pixel;
};

// A tile whose sums wait.
struct Waiting {
  const int32_t* sums;
  const int32_t* places;
  int pairs;  // of pixels
  int first;  // output
};

// Weights of the vectors of outputs from `block` on, two of them, for which a multiplication of each of `tiles` tiles
// asks a part, so that they are there when their turn comes.
SPARSENET_INLINE Ahead ahead_of(const Walk& w, int block, int tile, int tiles) {
  constexpr int kLines = 2 * kTileRows;
  const int lines = ceil_div(kLines, tiles);
  if (tile * lines >= kLines) return {nullptr, 0};
  const Weight* next = w.weights + block * w.pieces.block;
  return {reinterpret_cast<const uint8_t*>(next) + ptrdiff_t{tile} * lines * w.pieces.count * kTileRowBytes, lines};
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
template <int P, Form kForm, bool kAdds, class Add>
__attribute__((noinline)) void multiply_and_finish(const Walk& walk, const Add& add, const Weight* w, const Cell* x,
                                                   ptrdiff_t pixel, const int32_t* bias, int32_t* sums, Ahead ahead,
                                                   const Waiting& waiting, int8_t* nowhere) {
  PairFinisher<kForm, kAdds, Add> finisher(*walk.finish, add, waiting, nowhere);
  const Piece *piece = walk.pieces.list, *const end = piece + walk.pieces.count;
  const ptrdiff_t block = walk.pieces.block;
  const int each = ceil_div(finisher.left, walk.pieces.count);
  repeat_sums<P, 2>(bias);
  for (; piece != end; ++piece, w += kBlockCells * kLanes) {
    ahead.ask();
    add_products<P, 2, ByteProducts>(x + piece->offset, w, block, pixel);
    for (int i = 0; i < each && finisher.left > 0; ++i) finisher.next();
  }
  store_sums<P, 2>(sums);
}

// The weights of so many bytes are taken in turns for one tile before the next one: they stay in the first-level cache,
// and outputs of a pixel are written together.
constexpr int kGroupBytes = 24 * 1024;

// The vectors of outputs [begin, end), an even number of them.
template <Form kForm, bool kAdds, class Add>
void walk_as(const Walk& w, const Add& add, int begin, int end) {
  alignas(64) int32_t sums[2][kTileSums];
  alignas(64) int8_t nowhere[2 * kLanes] = {};
  Waiting waiting{sums[1], w.places, 0, begin * kLanes};
  int turn = 0;
  const int tiles = ceil_div(w.pixels, kTilePixels2);
  const int most = 2 * imax(1, kGroupBytes / (w.pieces.count * 2 * kTileRows * kTileRowBytes));
  for (int group = begin, blocks; group < end; group += blocks) {
    blocks = imin(most, end - group);
    for (int t = 0; t < tiles; ++t) {
      const int p = t * kTilePixels2, count = imin(kTilePixels2, w.pixels - p);
      const bool whole = count == kTilePixels2;
      const Cell* x = whole ? w.cells + p * w.pixel : w.last;
      const ptrdiff_t pixel = whole ? w.pixel : w.last_pixel;
      for (int block = group; block < group + blocks; block += 2, turn ^= 1) {
        const Weight* weights = w.weights + block * w.pieces.block;
        const int32_t* bias = w.finish->requantize.bias + block * kLanes;
        const Ahead ahead = ahead_of(w, block + blocks, t, tiles);
        if (count > kTileRows) {
          multiply_and_finish<2, kForm, kAdds>(w, add, weights, x, pixel, bias, sums[turn], ahead, waiting, nowhere);
        } else {
          multiply_and_finish<1, kForm, kAdds>(w, add, weights, x, pixel, bias, sums[turn], ahead, waiting, nowhere);
        }
        waiting = {sums[turn], w.places + p, ceil_div(count, 2), block * kLanes};
      }
    }
  }
  PairFinisher<kForm, kAdds, Add> finisher(*w.finish, add, waiting, nowhere);
  while (finisher.left > 0) finisher.next();
}

SPARSENET_INLINE void walk_tiles(const Walk& w, int begin, int end) {
  const Finish& f = *w.finish;
  const auto walk = [&](auto form) {
    constexpr Form kForm = decltype(form)::value;
    if (!f.residual.from) {
      walk_as<kForm, false>(w, NotAdded{}, begin, end);
    } else if (f.residual.has_factors) {
      walk_as<kForm, true>(w, added_reals_of(f.residual), begin, end);
    } else {
      walk_as<kForm, true>(w, added_of(f.residual), begin, end);
    }
  };
  f.requantize.form == Form::kHighSingle ? walk(FormTag<Form::kHighSingle>{}) : walk(FormTag<Form::kHighDouble>{});
}

#endif

}  // namespace sparsenet::rt::SPARSENET_ISA

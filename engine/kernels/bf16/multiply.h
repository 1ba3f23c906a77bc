// Products of bfloat16 numbers, summed in float32: by the tiles of AMX, or by AVX-512's dot products of pairs.
//
// Both multiply kTilePixels pixels of a panel (times one or two) with 16 outputs (times one or two) and read weights
// that are packed as AMX wants them: for every piece of kBlockChannels channels of one tap
//     [pair of channels][16 outputs][2 channels].
// They add and round in different orders. So results are the same bits for every number of threads and on every CPU
// with the same one of the two, but not with both.
#pragma once

#include "kernels/bf16/panel.h"
#include "kernels/portable/amx.h"

namespace sparsenet::rt::SPARSENET_ISA {

constexpr int kTilePixels = 16;
constexpr int kTileWeights = kBlockChannels * kLanes;  // elements of one packed tile

struct Pieces {
  const int32_t* offsets;  // of every piece's first channel from the first pixel of the tile, in elements of the panel
  int32_t count;
  ptrdiff_t block;  // elements of the packed weights of 16 outputs
};

#if defined(__AMX_BF16__)

struct PairProducts {
  static SPARSENET_INLINE void pixels_4_weights_6() { _tile_dpbf16ps(0, 4, 6); }
  static SPARSENET_INLINE void pixels_4_weights_7() { _tile_dpbf16ps(1, 4, 7); }
  static SPARSENET_INLINE void pixels_5_weights_6() { _tile_dpbf16ps(2, 5, 6); }
  static SPARSENET_INLINE void pixels_5_weights_7() { _tile_dpbf16ps(3, 5, 7); }
};
static_assert(kTilePixels == kTileRows && kBlockChannels * sizeof(Bf16) == kTileRowBytes, "a tile of pixels");

// sums: [P * kTilePixels][B * kLanes]
template <int P, int B>
void multiply(const Pieces& pieces, const Bf16* x, const Bf16* w, float* sums) {
  zero_sums<P, B>();
  for (int32_t i = 0; i < pieces.count; ++i, w += kTileWeights) {
    add_products<P, B, PairProducts>(x + pieces.offsets[i], w, pieces.block * static_cast<ptrdiff_t>(sizeof(Bf16)));
  }
  store_sums<P, B>(sums);
}

#else

template <int P, int B>
void multiply(const Pieces& pieces, const Bf16* x, const Bf16* w, float* sums) {
  constexpr int kAtOnce = 8;  // times B vectors of sums: enough to hide the latency, and all fit into registers
  for (int first = 0; first < P * kTilePixels; first += kAtOnce, x += kAtOnce * kBlockChannels) {
    __m512 acc[kAtOnce][B];
    for (auto& of_pixel : acc) {
      for (__m512& sum : of_pixel) sum = _mm512_setzero_ps();
    }
    const Bf16* weights = w;
    for (int32_t i = 0; i < pieces.count; ++i) {
      const Bf16* at = x + pieces.offsets[i];
      for (int pair = 0; pair < kBlockChannels / 2; ++pair, at += 2, weights += 2 * kLanes) {
        __m512bh wv[B];
#pragma GCC unroll 2
        for (int b = 0; b < B; ++b) {
          wv[b] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(weights + b * pieces.block));
        }
#pragma GCC unroll 8
        for (int p = 0; p < kAtOnce; ++p) {
          int32_t two;  // channels
          memcpy(&two, at + p * kBlockChannels, sizeof two);
          const auto xv = reinterpret_cast<__m512bh>(_mm512_set1_epi32(two));
#pragma GCC unroll 2
          for (int b = 0; b < B; ++b) acc[p][b] = _mm512_dpbf16_ps(acc[p][b], xv, wv[b]);
        }
      }
    }
    for (const auto& of_pixel : acc) {
      for (const __m512& sum : of_pixel) {
        _mm512_storeu_ps(sums, sum);
        sums += kLanes;
      }
    }
  }
}

#endif

}  // namespace sparsenet::rt::SPARSENET_ISA

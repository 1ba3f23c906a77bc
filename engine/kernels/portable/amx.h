// The tiles of AMX, where a file is compiled for them; elsewhere there is nothing to begin or end.
#pragma once

#include "kernels/portable/simd.h"

namespace sparsenet::rt::SPARSENET_ISA {

#if defined(__AMX_TILE__)

constexpr int kTileRows = 16, kTileRowBytes = 64;

struct alignas(64) TileConfig {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

// Between begin and end the thread's tiles are in use, each of kTileRows rows of kTileRowBytes bytes: 0 to 3 hold sums,
// 4 and 5 pixels, 6 and 7 weights.
SPARSENET_INLINE void begin_tiles() {
  TileConfig config{};
  config.palette = 1;
  for (int i = 0; i < 8; ++i) {
    config.row_bytes[i] = kTileRowBytes;
    config.rows[i] = kTileRows;
  }
  // GCC 12 takes it that the instruction reads 8 bytes: without this it could leave out the others' stores.
  asm volatile("" : "+m"(config));
  _tile_loadconfig(&config);
}
SPARSENET_INLINE void end_tiles() {
  _tile_release();
}

// The sums of P tiles of pixels times B tiles of outputs, which begin with zero, or for every pixel with B rows of
// numbers: the rows of a tile are then loaded from the same place.
template <int P, int B>
SPARSENET_INLINE void zero_sums() {
  _tile_zero(0);
  if constexpr (B == 2) _tile_zero(1);
  if constexpr (P == 2) _tile_zero(2);
  if constexpr (P == 2 && B == 2) _tile_zero(3);
}
template <int P, int B>
SPARSENET_INLINE void repeat_sums(const int32_t* rows) {
  _tile_loadd(0, rows, 0);
  if constexpr (B == 2) _tile_loadd(1, rows + kLanes, 0);
  if constexpr (P == 2) _tile_loadd(2, rows, 0);
  if constexpr (P == 2 && B == 2) _tile_loadd(3, rows + kLanes, 0);
}

// Adds the products of kTileRowBytes bytes of every pixel, which are `pixel` bytes apart from `x` on, with a tile of
// weights at `w` and, if B is 2, another one `block` bytes behind. Products has the instruction for each tile of sums.
template <int P, int B, class Products>
SPARSENET_INLINE void add_products(const void* x, const void* w, ptrdiff_t block, ptrdiff_t pixel = kTileRowBytes) {
  const auto *pixels = static_cast<const uint8_t*>(x), *weights = static_cast<const uint8_t*>(w);
  _tile_loadd(4, pixels, pixel);
  if constexpr (P == 2) _tile_loadd(5, pixels + kTileRows * pixel, pixel);
  _tile_loadd(6, weights, kTileRowBytes);
  if constexpr (B == 2) _tile_loadd(7, weights + block, kTileRowBytes);
  Products::pixels_4_weights_6();
  if constexpr (B == 2) Products::pixels_4_weights_7();
  if constexpr (P == 2) Products::pixels_5_weights_6();
  if constexpr (P == 2 && B == 2) Products::pixels_5_weights_7();
}

// Bytes that a multiplication asks for while it computes, because they are next and come from a slow cache: some of
// them for every block of cells.
struct Ahead {
  const uint8_t* next;
  int lines;  // of a cache, per block

  SPARSENET_INLINE void ask() {
    for (int i = 0; i < lines; ++i) _mm_prefetch(reinterpret_cast<const char*>(next + i * kTileRowBytes), _MM_HINT_T1);
    next += lines * kTileRowBytes;
  }
};

// `sums`: [P * kTileRows][B * kLanes] numbers of 32 bits.
template <int P, int B>
SPARSENET_INLINE void store_sums(void* sums) {
  constexpr int kRow = B * kLanes, kRowBytes = kRow * 4;
  auto* to = static_cast<int32_t*>(sums);
  _tile_stored(0, to, kRowBytes);
  if constexpr (B == 2) _tile_stored(1, to + kLanes, kRowBytes);
  if constexpr (P == 2) _tile_stored(2, to + kTileRows * kRow, kRowBytes);
  if constexpr (P == 2 && B == 2) _tile_stored(3, to + kTileRows * kRow + kLanes, kRowBytes);
}

#else

SPARSENET_INLINE void begin_tiles() {}
SPARSENET_INLINE void end_tiles() {}

#endif

}  // namespace sparsenet::rt::SPARSENET_ISA

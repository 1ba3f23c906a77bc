// The tiles of AMX, where a file is compiled for them; elsewhere there is nothing to begin or end.
#pragma once

#include "kernels/portable/simd.h"

namespace sparsenet::rt::SPARSENET_ISA {

#if defined(__AMX_TILE__)

struct alignas(64) TileConfig {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

// Between begin and end the thread's tiles are in use, each with 16 rows of 64 bytes: 0 to 3 hold sums, 4 and 5 pixels,
// 6 and 7 weights.
SPARSENET_INLINE void begin_tiles() {
  TileConfig config{};
  config.palette = 1;
  for (int i = 0; i < 8; ++i) {
    config.row_bytes[i] = 64;
    config.rows[i] = 16;
  }
  _tile_loadconfig(&config);
}
SPARSENET_INLINE void end_tiles() {
  _tile_release();
}

#else

SPARSENET_INLINE void begin_tiles() {}
SPARSENET_INLINE void end_tiles() {}

#endif

}  // namespace sparsenet::rt::SPARSENET_ISA

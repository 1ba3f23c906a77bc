// The table of tiles: every number of pixels for one and two vectors of outputs, and four and eight vectors for one or
// two pixels.
#include "kernels/portable/tile.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

template <int kMost>
struct Tiles {
  TileFunction functions[kMost + 1];
};

template <int B, int P, int kMost>
constexpr void fill(Tiles<kMost>& tiles) {
  tiles.functions[P] = tile<1, P, B>;
  if constexpr (P > 1) fill<B, P - 1>(tiles);
}
template <int B, int kMost>
constexpr Tiles<kMost> make() {
  Tiles<kMost> tiles{};
  fill<B, kMost>(tiles);
  return tiles;
}

template <int B>
void tile_of_image(const TileShape& s, const float* x, const float* w, float* y, const float* residual,
                   int first_output) {
  tile_of<1, kTilePixels2, B>(s, ImagePixels{s.pixel_stride}, x, w, y, residual, first_output);
}

constexpr Tiles<kTilePixels1> kTiles1 = make<1, kTilePixels1>();
constexpr Tiles<kTilePixels2> kTiles2 = make<2, kTilePixels2>();

}  // namespace

void finish_part(const TileShape& s, const V* sums, int rows, int pixels, int blocks, float* y, const float* residual,
                 int first_output) {
  const V low = splat(s.epilogue.low), high = splat(s.epilogue.high);
  for (int b = 0; b < blocks; ++b) {
    const int lanes = imin(kLanes, s.outputs - first_output - b * kLanes);
    const V bias = load(s.epilogue.bias + first_output + b * kLanes);
    for (int r = 0; r < rows; ++r) {
      for (int p = 0; p < pixels; ++p) {
        V v = sums[(r * pixels + p) * blocks + b];
        if (residual) v += load_first(residual + r * s.residual_row + p * s.residual_stride + b * kLanes, lanes);
        store_first(y + r * s.out_row + p * s.out_stride + b * kLanes, bounded(v + bias, low, high), lanes);
      }
    }
  }
  activate_rows(s.act, y, s.out_row, s.out_stride, rows, pixels, imin(blocks * kLanes, s.outputs - first_output));
}

TileFunction tile_function(int pixels, int blocks) {
  switch (blocks) {
    case 1:
      return kTiles1.functions[pixels];
    case 2:
      return kTiles2.functions[pixels];
    case 4:
      return pixels == 1 ? tile<1, 1, 4> : tile<1, 2, 4>;
    default:
      return tile<1, 1, 8>;
  }
}

TileFunction image_tile(int blocks) {
  return blocks == 1 ? tile_of_image<1> : tile_of_image<2>;
}

TileFunction two_row_tile(int pixels) {
#if defined(__AVX512F__) || defined(__aarch64__) || defined(__riscv_vector)
  switch (pixels) {
    case 4:
      return tile<2, 4, 2>;
    case 5:
      return tile<2, 5, 2>;
    case 6:
      return tile<2, 6, 2>;
    case 7:
      return tile<2, 7, 2>;
    default:
      break;
  }
#endif
  (void)pixels;
  return nullptr;
}

}  // namespace sparsenet::rt::SPARSENET_ISA

// The register tile of blocked convolutions, and the panels that it reads.
//
// A panel holds input pixels in blocks of kPanelChannels channels: channel c of pixel p is at
//     panel + (c / kPanelChannels) * block_stride + p * kPanelChannels + c % kPanelChannels.
// So neighbouring pixels are a constant number of floats apart whatever the layer's number of channels is. The
// addresses of a tile's pixels are constants in the code, and no number of channels sends them all to the same cache
// set.
//
// A tile computes R rows of Q pixels times B vectors of outputs. Its operand is a list of runs, each a piece of at most
// kPanelChannels channels of one tap; its weights are packed as [block of kLanes outputs][run, channel][kLanes].
#pragma once

#include "kernels/portable/gemm.h"
#include "kernels/portable/panel.h"

namespace sparsenet::rt::SPARSENET_ISA {

// Most pixels of a tile with one and with two vectors of outputs. Two registers hold weights and one an input.
#if defined(__AVX512F__) || defined(__aarch64__) || defined(__riscv_vector)
constexpr int kTilePixels1 = 28, kTilePixels2 = 14;
#else
constexpr int kTilePixels1 = 12, kTilePixels2 = 6;
#endif

struct Run {
  int32_t offset;  // floats from the panel's beginning to the first channel of the tile's first pixel
  int32_t length;
};

struct TileShape {
  const Run* runs;
  int32_t run_count;
  int32_t outputs;         // of the whole convolution, or of one group
  ptrdiff_t block;         // floats of one packed block of weights
  ptrdiff_t pixel_stride;  // of the image that image_tile() reads
  ptrdiff_t out_stride;    // floats between neighbouring pixels
  ptrdiff_t residual_stride;
  ptrdiff_t row, out_row, residual_row;  // floats between neighbouring rows
  Epilogue epilogue;
  Act act;
};

// Vectors of weights that are fetched ahead of their use: about the latency of the second-level cache.
constexpr int kPrefetch = 8;

// Elements of a sum that are added up before they are added to its earlier parts: the rounding error of one long sum
// grows with its length.
constexpr int kPartialElements = 256;

// Finishes a tile whose last vector of outputs is not whole: `sums` are [pixel][vector].
void finish_part(const TileShape& s, const V* sums, int rows, int pixels, int blocks, float* y, const float* residual,
                 int first_output);

// Where a tile finds the pixels of a row: in a panel at distances that are constants in the code, in an image at any
// distance, three pixels from each of a few addresses.
struct PanelPixels {
  SPARSENET_INLINE float at(const float* x, int q, int u) const { return x[q * kPanelChannels + u]; }
};
struct ImagePixels {
  ptrdiff_t stride;
  SPARSENET_INLINE float at(const float* x, int q, int u) const { return (x + q / 3 * 3 * stride)[q % 3 * stride + u]; }
};

// total = acc, or total += acc; acc = 0.
template <int P, int B>
SPARSENET_INLINE void keep_part(V (&acc)[P][B], V (&total)[P][B], bool first) {
#pragma GCC unroll 32
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 8
    for (int b = 0; b < B; ++b) {
      total[p][b] = first ? acc[p][b] : total[p][b] + acc[p][b];
      acc[p][b] = V{};
    }
  }
}

// The sums of R x Q pixels and B vectors of outputs.
template <int R, int Q, int B, class Pixels>
SPARSENET_INLINE void sum_up(const TileShape& s, const Pixels& pixels, const float* x, const float* w,
                             V (&sums)[R * Q][B]) {
  constexpr int P = R * Q;
  constexpr int kSplit = split_of<P * B>();
  V acc[kSplit][P][B], total[P][B];
#pragma GCC unroll 8
  for (int u = 0; u < kSplit; ++u) {
#pragma GCC unroll 32
    for (int p = 0; p < P; ++p) {
#pragma GCC unroll 8
      for (int b = 0; b < B; ++b) acc[u][p][b] = V{};
    }
  }
  const ptrdiff_t block = s.block;
  const Run* const end = s.runs + s.run_count;
  bool parts = false;  // `total` holds earlier parts of the sums
  int summed = 0;
  for (const Run* run = s.runs; run != end; ++run) {
    if (summed >= kPartialElements) {
      keep_part<P, B>(acc[0], total, !parts);
      parts = true;
      summed = 0;
    }
    summed += run->length;
    const float* xr = x + run->offset;
    const float* const last = xr + run->length;
    for (; last - xr >= kSplit; xr += kSplit, w += kSplit * kLanes) {
#pragma GCC unroll 8
      for (int u = 0; u < kSplit; ++u) {
        V wv[B];
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) {
          wv[b] = load(w + b * block + u * kLanes);
          __builtin_prefetch(w + b * block + (u + kPrefetch) * kLanes);
        }
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) {
          const float* xq = xr + (r == 0 ? 0 : s.row);
#pragma GCC unroll 32
          for (int q = 0; q < Q; ++q) {
            const float xv = pixels.at(xq, q, u);
#pragma GCC unroll 8
            for (int b = 0; b < B; ++b) acc[u][r * Q + q][b] += xv * wv[b];
          }
        }
      }
    }
    if constexpr (kSplit > 1) {
      for (; xr != last; ++xr, w += kLanes) {
#pragma GCC unroll 32
        for (int p = 0; p < P; ++p) {
#pragma GCC unroll 8
          for (int b = 0; b < B; ++b) acc[0][p][b] += pixels.at(xr, p, 0) * load(w + b * block);
        }
      }
    }
  }
#pragma GCC unroll 32
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 8
    for (int b = 0; b < B; ++b) {
      sums[p][b] = acc[0][p][b];
#pragma GCC unroll 8
      for (int u = 1; u < kSplit; ++u) sums[p][b] += acc[u][p][b];
      if (parts) sums[p][b] += total[p][b];
    }
  }
}

template <int R, int Q, int B, class Pixels>
SPARSENET_INLINE void tile_of(const TileShape& s, const Pixels& pixels, const float* x, const float* w, float* y,
                              const float* residual, int first_output) {
  constexpr int P = R * Q;
  V sums[P][B];
  sum_up<R, Q, B>(s, pixels, x, w, sums);
  // Only the last vector may be partly outputs. Instruction sets without masks have a function for that.
  const int last = imin(kLanes, s.outputs - first_output - (B - 1) * kLanes);
#if !defined(__AVX512F__)
  if (last != kLanes) {
    V copy[P * B];  // an array whose address is known elsewhere would not stay in registers
#pragma GCC unroll 32
    for (int p = 0; p < P; ++p) {
#pragma GCC unroll 8
      for (int b = 0; b < B; ++b) copy[p * B + b] = sums[p][b];
    }
    finish_part(s, copy, R, Q, B, y, residual, first_output);
    return;
  }
#endif
  const V low = splat(s.epilogue.low), high = splat(s.epilogue.high);
  V bias[B];
#pragma GCC unroll 8
  for (int b = 0; b < B; ++b) bias[b] = load(s.epilogue.bias + first_output + b * kLanes);
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) {
    float* yr = y + (r == 0 ? 0 : s.out_row);
    if (residual) {
      const float* rr = residual + (r == 0 ? 0 : s.residual_row);
#pragma GCC unroll 32
      for (int q = 0; q < Q; ++q) {
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) {
          sums[r * Q + q][b] += load_first(rr + q * s.residual_stride + b * kLanes, b + 1 < B ? kLanes : last);
        }
      }
    }
#pragma GCC unroll 32
    for (int q = 0; q < Q; ++q) {
#pragma GCC unroll 8
      for (int b = 0; b < B; ++b) {
        store_first(yr + q * s.out_stride + b * kLanes, bounded(sums[r * Q + q][b] + bias[b], low, high),
                    b + 1 < B ? kLanes : last);
      }
    }
  }
  if (s.act.kind != Act::kClamp) {
    activate_rows(s.act, y, s.out_row, s.out_stride, R, Q, (B - 1) * kLanes + last);
  }
}

template <int R, int Q, int B>
__attribute__((noinline)) void tile(const TileShape& s, const float* x, const float* w, float* y, const float* residual,
                                    int first_output) {
  tile_of<R, Q, B>(s, PanelPixels{}, x, w, y, residual, first_output);
}

using TileFunction = void (*)(const TileShape& s, const float* x, const float* w, float* y, const float* residual,
                              int first_output);

// In tile.cpp. The tile that reads kTilePixels2 pixels of an image, TileShape::pixel_stride floats apart; for one or
// two vectors of outputs.
TileFunction image_tile(int blocks);

// In tile.cpp. `pixels` must be a number that tile_pixels() returns, `blocks` one that tile_blocks() does.
TileFunction tile_function(int pixels, int blocks);

// The tile of two rows of `pixels` and two vectors of outputs, or null if there is none. It is for rows of up to half a
// tile's pixels: with one row, every weight would be loaded for so few of them.
TileFunction two_row_tile(int pixels);

// How many of `left` pixels the next tile takes: even shares of at most `most` pixels.
SPARSENET_INLINE int tile_pixels(int left, int blocks) {
  const int most = blocks == 1 ? kTilePixels1 : kTilePixels2;
  return ceil_div(left, ceil_div(left, most));
}

// How many of `left` vectors of outputs the next tile takes. A single pixel takes more, so that there are enough
// independent sums.
SPARSENET_INLINE int tile_blocks(int left, int pixels) {
  if (pixels == 1 && left >= 8) return 8;
  if (pixels <= 2 && left >= 4) return 4;
  return left >= 2 ? 2 : 1;
}

// Products of rows of `count` pixels of a panel with the blocks [begin, end) of outputs. `w`, `y` and `residual` belong
// to output 0. Weights of a pair of blocks are used for all pixels before the next pair is read.
inline void tile_matrix(const TileShape& s, const float* x, const float* w, float* y, const float* residual, int rows,
                        int count, int begin, int end) {
  for (int b = begin; b < end;) {
    const int blocks = tile_blocks(end - b, count);
    const int first = b * kLanes;
    const float* wb = w + b * s.block;
    int r = 0;
    if (blocks == 2) {
      if (const TileFunction two = two_row_tile(count)) {
        for (; r + 2 <= rows; r += 2) {
          two(s, x + r * s.row, wb, y + r * s.out_row + first,
              residual ? residual + r * s.residual_row + first : nullptr, first);
        }
      }
    }
    for (; r < rows; ++r) {
      for (int p = 0; p < count;) {
        const int pixels = tile_pixels(count - p, blocks);
        tile_function(pixels, blocks)(
            s, x + r * s.row + p * kPanelChannels, wb, y + r * s.out_row + p * s.out_stride + first,
            residual ? residual + r * s.residual_row + p * s.residual_stride + first : nullptr, first);
        p += pixels;
      }
    }
    b += blocks;
  }
}

}  // namespace sparsenet::rt::SPARSENET_ISA

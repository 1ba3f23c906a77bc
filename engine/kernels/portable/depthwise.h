// Tiles of depthwise convolutions: a few neighbouring outputs, one vector of channels at a time.
#pragma once

#include "kernels/portable/panel.h"
#include "kernels/portable/simd.h"

namespace sparsenet::rt::SPARSENET_ISA {

constexpr int kDepthwisePixels = 7;  // neighbouring outputs that are computed at once

// What the pixels of a row have in common.
struct Filter {
  V low, high;
  ptrdiff_t weight_row;  // floats from one row of weights to the next
  ptrdiff_t row;         // floats from one row of taps to the next
  ptrdiff_t tap;         // floats from one tap to the next
  ptrdiff_t step;        // floats from the first input of an output to that of the next
  int32_t kernel_h, kernel_w;
  ptrdiff_t out_stride, residual_stride;
  int32_t first, last;  // kImageEdge: the inputs of a row that lie in the image, of those that the outputs read
};

// A vector of channels.
struct Channels {
  const float* weights;
  V bias;
  int32_t lanes;
};

// Where inputs are read: in a panel, which has padding and may be read beyond the last channel; in the image where no
// padding is near; or in the image, leaving out what is outside.
enum class From { kPanel, kImage, kImageEdge };

// Q neighbouring output pixels. kKernel and kStride are the window's width and its stride if they are known and the
// dilation is 1, and 0 otherwise. kWhole: all lanes are in use, or may be read although they are not.
template <int Q, int kKernel, int kStride, From kFrom, bool kWhole>
SPARSENET_INLINE void pixels(const Filter& f, const Channels& c, const float* x, float* y, const float* residual) {
  V acc[Q];
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q) acc[q] = c.bias;
  const auto input = [&c](const float* at) { return kWhole ? load(at) : load_first(at, c.lanes); };
  const float* w = c.weights;
  if constexpr (kKernel != 0) {
    const ptrdiff_t tap = kFrom == From::kPanel ? kPanelChannels : f.tap;
    for (int ky = 0; ky < f.kernel_h; ++ky, x += f.row, w += f.weight_row) {
      V wv[kKernel];
#pragma GCC unroll 8
      for (int kx = 0; kx < kKernel; ++kx) wv[kx] = load(w + kx * kLanes);
        // Every input is loaded once, for all outputs that read it.
#pragma GCC unroll 32
      for (int i = 0; i < (Q - 1) * kStride + kKernel; ++i) {
        if (kFrom == From::kImageEdge && (i < f.first || i >= f.last)) continue;
        const V xv = input(x + i * tap);
#pragma GCC unroll 8
        for (int kx = 0; kx < kKernel; ++kx) {
          const int q = i - kx;
          if (q >= 0 && q % kStride == 0 && q / kStride < Q) acc[q / kStride] += xv * wv[kx];
        }
      }
    }
  } else {
    for (int ky = 0; ky < f.kernel_h; ++ky, x += f.row, w += f.weight_row) {
      for (int kx = 0; kx < f.kernel_w; ++kx) {
        const V wv = load(w + kx * kLanes);
#pragma GCC unroll 8
        for (int q = 0; q < Q; ++q) acc[q] += input(x + q * f.step + kx * f.tap) * wv;
      }
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q) {
    V v = acc[q];
    if (residual) v += load_first(residual + q * f.residual_stride, c.lanes);
    store_first(y + q * f.out_stride, bounded(v, f.low, f.high), c.lanes);
  }
}

// A row of outputs of one vector of channels, from a panel, which may be read beyond the last channel. The last pixels
// are computed a second time rather than one by one, which gives the same bits.
template <int kKernel, int kStride>
void panel_row(const Filter& f, const Channels& c, const float* x, float* y, const float* residual, int count) {
  int p = 0;
  for (; p < count; p += kDepthwisePixels) {
    if (p + kDepthwisePixels > count) {
      if (count < kDepthwisePixels || residual) break;
      p = count - kDepthwisePixels;
    }
    pixels<kDepthwisePixels, kKernel, kStride, From::kPanel, true>(
        f, c, x + p * f.step, y + p * f.out_stride, residual ? residual + p * f.residual_stride : nullptr);
  }
  for (; p < count; ++p) {
    pixels<1, kKernel, kStride, From::kPanel, true>(f, c, x + p * f.step, y + p * f.out_stride,
                                                    residual ? residual + p * f.residual_stride : nullptr);
  }
}

// Q neighbouring outputs with `channels` channels, from an image. All channels of a pixel before the next pixels:
// memory is read in the order in which it lies, and every row of it once while it is in the first-level cache.
template <int Q, int kKernel, int kStride, From kFrom>
void image_tile(const Filter& f, const float* weights, const float* bias, ptrdiff_t taps, const float* x, float* y,
                const float* residual, int channels) {
  int c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    const Channels whole{weights + c * taps, load(bias + c), kLanes};
    pixels<Q, kKernel, kStride, kFrom, true>(f, whole, x + c, y + c, residual ? residual + c : nullptr);
  }
  if (c == channels) return;
  const Channels part{weights + c * taps, load(bias + c), channels - c};
  pixels<Q, kKernel, kStride, kFrom, false>(f, part, x + c, y + c, residual ? residual + c : nullptr);
}

using PanelRow = void (*)(const Filter& f, const Channels& c, const float* x, float* y, const float* residual,
                          int count);
using ImageTile = void (*)(const Filter& f, const float* weights, const float* bias, ptrdiff_t taps, const float* x,
                           float* y, const float* residual, int channels);

struct Variant {
  int32_t kernel, stride;
  PanelRow panel;
  ImageTile image, edge;  // kDepthwisePixels outputs; edge: null if the window is not known
};

template <int kKernel, int kStride>
constexpr Variant variant() {
  return {kKernel, kStride, panel_row<kKernel, kStride>, image_tile<kDepthwisePixels, kKernel, kStride, From::kImage>,
          kKernel == 0 ? nullptr : image_tile<kDepthwisePixels, kKernel, kStride, From::kImageEdge>};
}

}  // namespace sparsenet::rt::SPARSENET_ISA

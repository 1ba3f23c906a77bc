// How a convolution over a panel is cut into chunks: bands of output rows of an image times ranges of outputs.
#pragma once

#include "kernels/portable/simd.h"
#include "runtime/caches.h"
#include "step/step.h"

namespace sparsenet::rt::SPARSENET_ISA {

// The images as such a kernel sees them.
struct Images {
  int32_t count, in_h, in_w, out_h, out_w;
};

struct Cut {
  int32_t rows, bands;     // output rows per band; bands per image
  int32_t blocks, ranges;  // vectors of outputs per range; ranges
};

// What the cut depends on besides the images.
struct CutNeeds {
  int32_t outputs;
  int32_t row_pixels;    // that tiles walk along for a row of outputs
  int64_t weight_bytes;  // of all outputs
  int64_t row_bytes;     // that the panel takes for a row of outputs
  int32_t more_rows;     // of the panel, behind those of a band's rows of outputs
  int32_t band_pixels;   // of a band, about, if they fit
  int32_t few_pixels;    // so few of all images are cut along the outputs
};

// One chunk's part.
struct Part {
  int32_t image, y0, rows;  // output rows [y0, y0 + rows)
  int32_t begin, end;       // vectors of outputs
};

SPARSENET_INLINE bool is_pointwise(const Step& s) {
  const Window& w = s.window;
  return w.kernel_h == 1 && w.kernel_w == 1 && w.stride_h == 1 && w.stride_w == 1 && w.pad_top == 0 &&
         w.pad_left == 0 && s.in.h == s.out.h && s.in.w == s.out.w;
}

SPARSENET_INLINE int64_t pixels_of(const View& v) {
  return int64_t{v.n} * v.h * v.w;
}

// A 1x1 convolution takes all pixels of the batch as one column.
SPARSENET_INLINE Images images_of(const Step& s) {
  if (!is_pointwise(s)) return {s.out.n, s.in.h, s.in.w, s.out.h, s.out.w};
  const auto pixels = static_cast<int32_t>(pixels_of(s.out));
  return {1, pixels, 1, pixels, 1};
}

// What is cut along the outputs must be gathered again by every chunk. Weights that do not stay in the second-level
// cache from chunk to chunk are cut all the same, so that each is read once per band.
inline Cut cut_of(const Images& i, const CutNeeds& needs) {
  constexpr int kChunks = 4;
  const int pairs = ceil_div(ceil_div(needs.outputs, kLanes), 2);
  const int64_t fit = caches.second_level / 4 / needs.row_bytes;
  const bool cut_outputs =
      needs.weight_bytes > caches.second_level / 4 || int64_t{i.count} * i.out_h * i.out_w <= needs.few_pixels;
  Cut b{};
  const int64_t most = fit < 1 ? 1 : fit < i.out_h ? fit : i.out_h;
  int64_t rows = imax(1, needs.band_pixels / needs.row_pixels);
  if (rows < int64_t{4} * needs.more_rows) rows = int64_t{4} * needs.more_rows;
  b.rows = static_cast<int32_t>(rows < most ? rows : most);
  if (!cut_outputs) b.rows = imin(b.rows, ceil_div(i.out_h * imin(i.count, kChunks), kChunks));
  b.bands = ceil_div(i.out_h, imin(b.rows, i.out_h));
  b.rows = ceil_div(i.out_h, b.bands);
  b.bands = ceil_div(i.out_h, b.rows);
  const auto parts = static_cast<int>(needs.weight_bytes / (caches.second_level / 2)) + 1;
  const int ranges = cut_outputs ? imin(pairs, imax(parts, kChunks)) : 1;
  b.blocks = 2 * ceil_div(pairs, ranges);
  b.ranges = ceil_div(pairs * 2, b.blocks);
  return b;
}

SPARSENET_INLINE int64_t chunks_of(const Images& i, const Cut& b) {
  return int64_t{i.count} * b.bands * b.ranges;
}

// `blocks`: vectors of outputs in all. The bands of one range follow each other, so its weights stay in the cache.
SPARSENET_INLINE Part part_of(const Images& i, const Cut& b, int32_t blocks, int32_t chunk) {
  const int bands = b.bands * i.count;
  const int range = chunk / bands, band = chunk % bands % b.bands, image = chunk % bands / b.bands;
  const int y0 = band * b.rows, begin = range * b.blocks;
  return {image, y0, imin(b.rows, i.out_h - y0), begin, imin(begin + b.blocks, blocks)};
}

}  // namespace sparsenet::rt::SPARSENET_ISA

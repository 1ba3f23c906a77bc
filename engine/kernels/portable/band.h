// Bands: rows of an image with their padding, gathered into scratch so that inner loops need not deal with borders.
#pragma once

#include "kernels/portable/source.h"

namespace sparsenet::rt::SPARSENET_ISA {

struct BandShape {
  int32_t h, w, c;   // of the image
  int32_t pad_left;  // pixels in front of a row; may be negative
  int32_t width;     // pixels of a band's row
};

SPARSENET_INLINE int band_input_rows(const Step& s, int out_rows) {
  return (out_rows - 1) * s.window.stride_h + (s.window.kernel_h - 1) * s.window.dilation_h + 1;
}
// `out_w`: columns of the convolution's output.
SPARSENET_INLINE int band_input_width(const Step& s, int out_w) {
  return (out_w - 1) * s.window.stride_w + (s.window.kernel_w - 1) * s.window.dilation_w + 1;
}

// Copies `rows` rows of an image from row y0 on, with zeros outside of the image.
inline void fill_band(const Source& source, const BandShape& s, int image, int y0, int rows, float* band) {
  const ptrdiff_t row = ptrdiff_t{s.width} * s.c;
  const int left = imin(imax(s.pad_left, 0), s.width);
  const int inside = imax(imin(s.w, s.width - left), 0);
  for (int r = 0; r < rows; ++r, band += row) {
    const int y = y0 + r;
    if (y < 0 || y >= s.h) {
      memset(band, 0, static_cast<size_t>(row) * sizeof(float));
      continue;
    }
    memset(band, 0, static_cast<size_t>(left) * static_cast<size_t>(s.c) * sizeof(float));
    gather(source, (int64_t{image} * s.h + y) * s.w, inside, band + ptrdiff_t{left} * s.c, s.c);
    const int used = left + inside;
    memset(band + ptrdiff_t{used} * s.c, 0,
           static_cast<size_t>(s.width - used) * static_cast<size_t>(s.c) * sizeof(float));
  }
}

}  // namespace sparsenet::rt::SPARSENET_ISA

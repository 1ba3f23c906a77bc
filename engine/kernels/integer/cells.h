// Panels of cells: input pixels that a chunk gathers into scratch, with padding, before it computes.
//
// There is a plane for every tap of a window's row, unless the taps of a row and their channels fit into one block of
// cells: then they are the channels of one plane. A plane has, for every row of input that a band of output rows reads,
// a pixel for every column of the output. So what neighbouring outputs read through one tap is neighbouring, also from
// the end of one row to the beginning of the next. Cell c of pixel p of a plane is at
//     panel + (c / kBlockCells) * block + p * kBlockCells + c % kBlockCells;
// what is beyond the last channel is undefined (its weights are zero).
#pragma once

#include "kernels/integer/vectors.h"
#include "kernels/portable/panel.h"

namespace sparsenet::rt::SPARSENET_ISA {

struct CellSource {
  const ByteRange* ranges;
  int32_t count;
  int32_t channels;
  int32_t zero;  // point of the input
  ChannelScales scales;
};

struct CellPanel {
  Axis y;                    // rows
  int32_t in_w, out_w;       // columns
  int32_t stride, dilation;  // along a row
  int32_t pad;
  int32_t kernel_w;
  bool folded;          // the taps of a row are channels of one plane
  int32_t folded_rows;  // as are those of so many rows, which are `row_dilation` apart
  int32_t row_dilation;
  ptrdiff_t block;  // cells of a block
};

SPARSENET_INLINE int32_t planes_of(const CellPanel& p) {
  return p.folded ? 1 : p.kernel_w;
}
SPARSENET_INLINE ptrdiff_t plane_pixels(const CellPanel& p) {
  return ptrdiff_t{p.y.phases} * p.y.length * p.out_w;
}

// `count` bytes of one pixel.
SPARSENET_INLINE void copy_cells(const int8_t* x, int count, [[maybe_unused]] int32_t zero, Cell* to) {
#if defined(__AVX512BW__)
  const auto mask = ~uint64_t{0} >> (64 - count);
  if constexpr (kByteCells) {
    const __m512i v = _mm512_maskz_loadu_epi8(mask, x);
    _mm512_mask_storeu_epi8(to, mask, _mm512_xor_si512(v, _mm512_set1_epi8(-128)));
  } else {
    const auto half = static_cast<__mmask32>(mask);
    const __m512i v = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(half, x));
    _mm512_mask_storeu_epi16(to, half, _mm512_sub_epi16(v, _mm512_set1_epi16(static_cast<int16_t>(zero))));
  }
#elif defined(__ARM_NEON)
  memcpy(to, x, static_cast<size_t>(count));
#else
  const int32_t offset = cell_offset(zero);
#if defined(__AVX2__)
  if constexpr (!kByteCells) {  // eight or four at a time, the last ones perhaps once more
    const __m128i added = _mm_set1_epi16(static_cast<int16_t>(offset));
    if (count >= 8) {
      const auto copy_eight = [&](int c) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x + c));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + c), _mm_add_epi16(_mm_cvtepi8_epi16(bytes), added));
      };
      for (int c = 0; c + 8 < count; c += 8) copy_eight(c);
      copy_eight(count - 8);
      return;
    }
    if (count >= 4) {
      const auto copy_four = [&](int c) {
        int32_t four;
        memcpy(&four, x + c, sizeof four);
        const __m128i cells = _mm_add_epi16(_mm_cvtepi8_epi16(_mm_cvtsi32_si128(four)), added);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(to + c), cells);
      };
      copy_four(0);
      copy_four(count - 4);
      return;
    }
  }
#endif
#pragma omp simd
  for (int c = 0; c < count; ++c) to[c] = static_cast<Cell>(x[c] + offset);
#endif
}

// `count` bytes of each of `pixels` pixels.
SPARSENET_INLINE void copy_pixels(const int8_t* x, ptrdiff_t stride, int pixels, int count, int32_t zero, Cell* to) {
  const auto copy = [&](int bytes) {
    for (int p = 0; p < pixels; ++p) copy_cells(x + p * stride, bytes, zero, to + ptrdiff_t{p} * kBlockCells);
  };
#if defined(__AVX512VNNI__)
  if (count == kBlockCells) {
    for (int p = 0; p < pixels; ++p) {
      const __m512i v = _mm512_loadu_si512(x + p * stride);
      _mm512_storeu_si512(to + ptrdiff_t{p} * kBlockCells, _mm512_xor_si512(v, _mm512_set1_epi8(-128)));
    }
    return;
  }
#endif
#if !defined(__AVX512BW__)
  // Numbers that the compiler knows have no loop.
  if (count == 4) return copy(4);
  if (count == 8) return copy(8);
  if (count == 16) return copy(16);
  if (count == kBlockCells) return copy(kBlockCells);
#endif
  copy(count);
}

#if !defined(__AVX512BW__)
// kLanes cells.
SPARSENET_INLINE void store_cells(VI v, Cell* to) {
#if defined(__AVX2__)
  const auto x = reinterpret_cast<__m256i>(v);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  if constexpr (sizeof(Cell) == 2) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), words);
  } else {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
  }
#elif defined(__SSE2__)
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packs_epi32(reinterpret_cast<__m128i>(v), __m128i{}));
#elif defined(__ARM_NEON)
  store_bytes(to, v, kLanes);
#else
  for (int i = 0; i < kLanes; ++i) to[i] = static_cast<Cell>(v[i]);
#endif
}

#endif

// kLanes cells, or the first of them, of scaled integers that may still be beyond int8.
SPARSENET_INLINE void store_scaled(VI v, int lanes, int32_t zero, Cell* to) {
#if defined(__AVX512BW__)
  const auto mask = static_cast<__mmask16>((1u << lanes) - 1u);
  const __m128i bytes = _mm512_cvtsepi32_epi8(reinterpret_cast<__m512i>(v));  // saturates
  if constexpr (kByteCells) {
    _mm_mask_storeu_epi8(to, mask, _mm_xor_si128(bytes, _mm_set1_epi8(-128)));
  } else {
    const __m256i words = _mm256_sub_epi16(_mm256_cvtepi8_epi16(bytes), _mm256_set1_epi16(static_cast<int16_t>(zero)));
    _mm256_mask_storeu_epi16(to, mask, words);
  }
#else
  const VI bounded = min_vi(max_vi(v, splat_vi(-128)), splat_vi(127)) + cell_offset(zero);
  if (lanes == kLanes) {
    store_cells(bounded, to);
    return;
  }
  Cell cells[kLanes];
  store_cells(bounded, cells);
  for (int i = 0; i < lanes; ++i) to[i] = cells[i];
#endif
}

#if defined(__AVX2__) && !defined(__AVX512F__)
// The same for kLanes cells of two neighbouring pixels. Saturating on the way changes nothing: bounds are narrower.
SPARSENET_INLINE void store_two_scaled(VI a, VI b, int32_t zero, Cell* to) {
  const __m256i words = _mm256_packs_epi32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b));
  if constexpr (kByteCells) {
    const __m256i bytes = _mm256_xor_si256(_mm256_packs_epi16(words, words), _mm256_set1_epi8(-128));
    const __m128i both = _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), both);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to + kBlockCells), _mm_unpackhi_epi64(both, both));
  } else {
    const __m256i bounded = _mm256_min_epi16(_mm256_max_epi16(words, _mm256_set1_epi16(-128)), _mm256_set1_epi16(127));
    const __m256i cells =
        _mm256_permute4x64_epi64(_mm256_sub_epi16(bounded, _mm256_set1_epi16(static_cast<int16_t>(zero))), 0xd8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(cells));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + kBlockCells), _mm256_extracti128_si256(cells, 1));
  }
}
#endif

// `channels` channels, from `channel` on, of `count` pixels, with their scales.
inline void scale_pixels(const CellSource& s, const int8_t* x, ptrdiff_t stride, int count, int channel, int channels,
                         Cell* to) {
  for (int c = 0; c < channels; c += kLanes, x += kLanes, to += kLanes) {
    const int lanes = imin(kLanes, channels - c);
    const VI multiplier = load_vi(s.scales.multiplier + channel + c), addend = load_vi(s.scales.addend + channel + c),
             shift = load_vi(s.scales.shift + channel + c);
    const int8_t* from = x;
    Cell* y = to;
    int p = 0;
#if defined(__AVX2__) && !defined(__AVX512F__)
    for (; lanes == kLanes && p + 2 <= count; p += 2, from += 2 * stride, y += 2 * kBlockCells) {
      store_two_scaled((load_whole_bytes(from) * multiplier + addend) >> shift,
                       (load_whole_bytes(from + stride) * multiplier + addend) >> shift, s.zero, y);
    }
#endif
    for (; p < count; ++p, from += stride, y += kBlockCells) {
      store_scaled((load_bytes(from, lanes) * multiplier + addend) >> shift, lanes, s.zero, y);
    }
  }
}

SPARSENET_INLINE void clear_cells(Cell* to, int count, Cell value) {
  for (int c = 0; c < count; ++c) to[c] = value;
}

// All channels of `count` pixels, every `step`-th from `pixel` on, as the cells from `cell` on.
inline void gather_cells(const CellSource& s, int64_t pixel, int count, int step, int cell, ptrdiff_t block, Cell* to) {
  int channel = 0;
  for (int32_t i = 0; i < s.count; ++i) {
    const ByteRange& range = s.ranges[i];
    const ptrdiff_t stride = ptrdiff_t{range.pixel_stride} * step;
    for (int c = 0, bytes = 0; c < range.channels; c += bytes, cell += bytes, channel += bytes) {
      bytes = imin(range.channels - c, kBlockCells - cell % kBlockCells);
      const int8_t* x = range.base + pixel * range.pixel_stride + c;
      Cell* y = to + cell / kBlockCells * block + cell % kBlockCells;
      if (s.scales.multiplier) {
        scale_pixels(s, x, stride, count, channel, bytes, y);
      } else {
        copy_pixels(x, stride, count, bytes, s.zero, y);
      }
    }
  }
}

// The cells of all channels of `count` pixels in the padding.
inline void pad_cells(const CellSource& s, int count, int cell, ptrdiff_t block, Cell* to) {
  for (int left = s.channels, cells = 0; left > 0; left -= cells, cell += cells) {
    cells = imin(left, kBlockCells - cell % kBlockCells);
    Cell* y = to + cell / kBlockCells * block + cell % kBlockCells;
    for (int p = 0; p < count; ++p, y += kBlockCells) clear_cells(y, cells, cell_of_zero(s.zero));
  }
}

#if defined(__AVX512VNNI__)
// One block of cells for each of `pixels` pixels: `count` bytes from each of `rows` rows, which are `row` bytes apart.
SPARSENET_INLINE void copy_rows(const int8_t* x, ptrdiff_t stride, int pixels, int count, int rows, ptrdiff_t row,
                                Cell* to) {
  const auto copy = [&](int some) {
    __mmask64 masks[kBlockCells];
    for (int r = 0; r < some; ++r) masks[r] = (~uint64_t{0} >> (64 - count)) << r * count;
    for (int p = 0; p < pixels; ++p, x += stride, to += kBlockCells) {
      __m512i v = _mm512_maskz_loadu_epi8(masks[0], x);
#pragma GCC unroll 4
      for (int r = 1; r < some; ++r) v = _mm512_mask_loadu_epi8(v, masks[r], x + r * (row - count));
      _mm512_storeu_si512(to, _mm512_xor_si512(v, _mm512_set1_epi8(-128)));
    }
  };
  if (rows == 2) return copy(2);
  if (rows == 3) return copy(3);
  copy(rows);
}
#endif

// What the outputs [begin, end) of one row read through one tap of the window's row, from an image's row at
// `row_pixel`, as the cells from `cell` on.
inline void fill_cells(const CellSource& s, const CellPanel& p, int64_t row_pixel, int tap, int begin, int end,
                       int cell, Cell* to) {
  const int first = tap * p.dilation - p.pad;  // column of output 0
  const int left = imin(imax(begin, first < 0 ? ceil_div(-first, p.stride) : 0), end);
  const int last = imin(end, p.in_w > first ? ceil_div(p.in_w - first, p.stride) : 0);
  const int inside = imax(last - left, 0);
  if (left > begin) pad_cells(s, left - begin, cell, p.block, to + ptrdiff_t{begin} * kBlockCells);
  if (inside > 0) {
    gather_cells(s, row_pixel + first + ptrdiff_t{left} * p.stride, inside, p.stride, cell, p.block,
                 to + ptrdiff_t{left} * kBlockCells);
  }
  const int right = left + inside;
  if (end > right) pad_cells(s, end - right, cell, p.block, to + ptrdiff_t{right} * kBlockCells);
}

// The same for all taps of a line of a folded plane, of which the first one reads the row `at` of the image that begins
// at `image_pixel`.
inline void fill_folded_taps(const CellSource& s, const CellPanel& p, int64_t image_pixel, int at, Cell* to) {
  for (int r = 0, cell = 0; r < p.folded_rows; ++r) {
    const int row = at + r * p.row_dilation;
    for (int tap = 0; tap < p.kernel_w; ++tap, cell += s.channels) {
      if (row < 0 || row >= p.y.size) {
        pad_cells(s, p.out_w, cell, p.block, to);
      } else {
        fill_cells(s, p, image_pixel + int64_t{row} * p.in_w, tap, 0, p.out_w, cell, to);
      }
    }
  }
}

// The same where pixels follow each other, so that what a window reads of a row is one run of bytes.
inline void fill_folded_runs(const CellSource& s, const CellPanel& p, int64_t image_pixel, int at, Cell* to) {
  const int channels = s.channels, of_row = p.kernel_w * channels;
  const int last = p.in_w + p.pad - p.kernel_w;  // column from the padding on at which a window may begin
  const int begin = imin(p.pad > 0 ? ceil_div(p.pad, p.stride) : 0, p.out_w);
  const int end = imax(begin, last < 0 ? 0 : imin(last / p.stride + 1, p.out_w));
  const ptrdiff_t stride = ptrdiff_t{p.stride} * channels;
  const auto from = [&](int row, int column) {
    return s.ranges[0].base + (image_pixel + int64_t{row} * p.in_w + column) * channels;
  };
  const int first = begin * p.stride - p.pad;
  Cell* inside = to + ptrdiff_t{begin} * kBlockCells;
  bool copied = false;
#if defined(__AVX512VNNI__)
  if (p.folded_rows > 1 && at >= 0 && at + (p.folded_rows - 1) * p.row_dilation < p.y.size) {
    copied = true;
    copy_rows(from(at, first), stride, end - begin, of_row, p.folded_rows,
              p.row_dilation * ptrdiff_t{p.in_w} * channels, inside);
  }
#endif
  for (int r = 0, cell = 0; r < p.folded_rows; ++r, cell += of_row) {
    const int row = at + r * p.row_dilation;
    const auto clear = [&](int x) {
      clear_cells(to + ptrdiff_t{x} * kBlockCells + cell, of_row, cell_of_zero(s.zero));
    };
    if (row < 0 || row >= p.y.size) {
      for (int x = 0; x < p.out_w; ++x) clear(x);
      continue;
    }
    if (!copied && end > begin) copy_pixels(from(row, first), stride, end - begin, of_row, s.zero, inside + cell);
    for (int x = begin > 0 ? 0 : end; x < p.out_w; x = x + 1 == begin ? end : x + 1) {
      const int column = x * p.stride - p.pad, left = imax(0, -column), right = imin(p.kernel_w, p.in_w - column);
      clear(x);
      if (right <= left) continue;
      copy_cells(from(row, column + left), (right - left) * channels, s.zero,
                 to + ptrdiff_t{x} * kBlockCells + cell + left * channels);
    }
  }
}

// The input rows that output rows of an image need from row y0 on: `lines` of every phase.
inline void fill_cell_panel(const CellSource& s, const CellPanel& p, int image, int y0, int lines, Cell* to) {
  const Axis& y = p.y;
  if (p.kernel_w == 1 && p.stride == 1 && p.pad == 0 && p.in_w == p.out_w && y.stride == 1 && y0 >= y.pad &&
      y0 - y.pad + lines <= y.size) {  // rows that follow each other without padding
    gather_cells(s, (int64_t{image} * y.size + y0 - y.pad) * p.in_w, lines * p.in_w, 1, 0, p.block, to);
    return;
  }
  const bool runs = s.count == 1 && s.ranges[0].pixel_stride == s.channels && !s.scales.multiplier && p.dilation == 1;
  for (int plane = 0; plane < planes_of(p); ++plane, to += plane_pixels(p) * kBlockCells) {
    for (int phase = 0; phase < y.phases; ++phase) {
      Cell* row = to + ptrdiff_t{phase} * y.length * p.out_w * kBlockCells;
      for (int r = 0; r < lines; ++r, row += ptrdiff_t{p.out_w} * kBlockCells) {
        const int at = (y0 + r) * y.stride + phase - y.pad;
        if (p.folded) {
          const int64_t image_pixel = int64_t{image} * y.size * p.in_w;
          runs ? fill_folded_runs(s, p, image_pixel, at, row) : fill_folded_taps(s, p, image_pixel, at, row);
        } else if (at < 0 || at >= y.size) {
          pad_cells(s, p.out_w, 0, p.block, row);
        } else {
          fill_cells(s, p, (int64_t{image} * y.size + at) * p.in_w, plane, 0, p.out_w, 0, row);
        }
      }
    }
  }
}

}  // namespace sparsenet::rt::SPARSENET_ISA

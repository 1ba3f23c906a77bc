// Panels of bfloat16: input pixels that a chunk gathers into scratch, rounded, with padding, before it computes.
//
// A panel holds blocks of kBlockChannels channels; channel c of pixel p is at
//     panel + (c / kBlockChannels) * block + p * kBlockChannels + c % kBlockChannels,
// and channels beyond the last one are zero. Its pixels are planes: one for every remainder of rows and of columns
// modulo the strides. A plane has `y.length` rows of `x.length` pixels, so that what neighbouring outputs read through
// one tap of the window is neighbouring, and goes on from row to row in the same distance.
#pragma once

#include "kernels/portable/panel.h"

namespace sparsenet::rt::SPARSENET_ISA {

using Bf16 = uint16_t;

constexpr int kBlockChannels = 32;  // 16 pairs: a row of one tile of AMX

SPARSENET_INLINE int channel_blocks(int channels) {
  return ceil_div(channels, kBlockChannels);
}

// Rounds to the nearest, ties to even. The instruction that rounds vectors takes denormals for zero, as all
// instructions do that multiply bfloat16 numbers.
SPARSENET_INLINE Bf16 to_bf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if (x != x) return static_cast<Bf16>(bits >> 16 | 0x40);
  return static_cast<Bf16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

SPARSENET_INLINE void store_bf16(Bf16* to, V v, int lanes) {
  const auto rounded = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(v)));
  _mm256_mask_storeu_epi16(to, static_cast<__mmask16>((1u << lanes) - 1u), rounded);
}

// Channels that one vector holds of `count` pixels, `stride` floats apart.
template <Pre kPre>
SPARSENET_INLINE void gather_vector(const Source& s, const float* x, ptrdiff_t stride, int channel, int lanes,
                                    int count, Bf16* to) {
  const V low = splat(s.low), high = splat(s.high);
  const V scale = kPre == Pre::kNone ? V{} : load_first(s.scale + channel, lanes);
  const V shift = kPre == Pre::kNone ? V{} : load_first(s.shift + channel, lanes);
  for (int p = 0; p < count; ++p, x += stride, to += kBlockChannels) {
    store_bf16(to, apply_pre<kPre>(load_first(x, lanes), scale, shift, low, high), lanes);
  }
}

// All channels of `count` pixels, every `step`-th from `pixel` on, with affine and bounds applied.
inline void gather_bf16(const Source& s, int64_t pixel, int count, int step, Bf16* panel, ptrdiff_t block) {
  by_pre(s, [&](auto pre) {
    constexpr Pre kPre = decltype(pre)::value;
    int first = 0;  // channel of a segment
    for (int32_t i = 0; i < s.count; first += s.segments[i].channels, ++i) {
      const GatherRange& segment = s.segments[i];
      const float* base = segment.base + pixel * segment.pixel_stride;
      for (int c = 0, lanes = 0; c < segment.channels; c += lanes) {
        const int channel = first + c;
        lanes = imin(imin(kLanes, segment.channels - c), kBlockChannels - channel % kBlockChannels);
        gather_vector<kPre>(s, base + c, ptrdiff_t{segment.pixel_stride} * step, channel, lanes, count,
                            panel + channel / kBlockChannels * block + channel % kBlockChannels);
      }
    }
  });
  const int rest = s.channels % kBlockChannels;
  if (rest == 0) return;
  const auto beyond = static_cast<__mmask32>(~uint32_t{0} << rest);
  Bf16* last = panel + s.channels / kBlockChannels * block;
  for (int p = 0; p < count; ++p, last += kBlockChannels) {
    _mm512_mask_storeu_epi16(last, beyond, _mm512_setzero_si512());
  }
}

struct Bf16Panel {
  Axis y, x;
  int32_t blocks;
  ptrdiff_t block;  // elements of a block of channels
};

SPARSENET_INLINE int64_t panel_pixels(const Axis& y, const Axis& x) {
  return int64_t{y.phases} * y.length * x.phases * x.length;
}

inline void clear_pixels(const Bf16Panel& panel, int count, Bf16* to) {
  for (int b = 0; b < panel.blocks; ++b) {
    memset(to + b * panel.block, 0, static_cast<size_t>(count) * kBlockChannels * sizeof(Bf16));
  }
}

// One row of one plane: the pixels at columns phase + i * stride - pad of an image's row.
inline void fill_bf16_row(const Source& s, const Bf16Panel& panel, int64_t row_pixel, int phase, Bf16* to) {
  const Axis& x = panel.x;
  const int first = phase - x.pad;  // column of pixel 0
  const int left = imin(first < 0 ? ceil_div(-first, x.stride) : 0, x.length);
  const int last = x.size > first ? imin(ceil_div(x.size - first, x.stride), x.length) : 0;
  const int inside = imax(last - left, 0);
  clear_pixels(panel, left, to);
  if (inside > 0) {
    gather_bf16(s, row_pixel + first + ptrdiff_t{left} * x.stride, inside, x.stride,
                to + ptrdiff_t{left} * kBlockChannels, panel.block);
  }
  clear_pixels(panel, x.length - left - inside, to + ptrdiff_t{left + inside} * kBlockChannels);
}

// The input rows of `rows` output rows of an image, from output row y0 on. Every plane has room for the rows of a whole
// band, of which a last band may need fewer.
inline void fill_bf16_panel(const Source& s, const Bf16Panel& panel, int image, int y0, int lines, Bf16* to) {
  const Axis &y = panel.y, &x = panel.x;
  if (y.stride == 1 && x.stride == 1 && x.pad == 0 && x.length == x.size && y0 >= y.pad &&
      y0 - y.pad + lines <= y.size) {  // rows that follow each other without padding
    gather_bf16(s, (int64_t{image} * y.size + y0 - y.pad) * x.size, lines * x.size, 1, to, panel.block);
    return;
  }
  for (int py = 0; py < y.phases; ++py) {
    for (int px = 0; px < x.phases; ++px) {
      Bf16* row = to + ptrdiff_t{py * x.phases + px} * y.length * x.length * kBlockChannels;
      for (int r = 0; r < lines; ++r, row += ptrdiff_t{x.length} * kBlockChannels) {
        const int at = (y0 + r) * y.stride + py - y.pad;
        if (at < 0 || at >= y.size) {
          clear_pixels(panel, x.length, row);
        } else {
          fill_bf16_row(s, panel, (int64_t{image} * y.size + at) * x.size, px, row);
        }
      }
    }
  }
}

}  // namespace sparsenet::rt::SPARSENET_ISA

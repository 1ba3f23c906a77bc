// Panels: input pixels that a chunk gathers into scratch, with padding, before it computes.
//
// A panel holds blocks of kPanelChannels channels: channel c of pixel p is at
//     panel + (c / kPanelChannels) * block_stride + p * kPanelChannels + c % kPanelChannels.
// So neighbouring pixels are a constant number of floats apart whatever the layer's number of channels is, and no
// number of channels sends them all to the same cache set.
#pragma once

#include "kernels/portable/source.h"

namespace sparsenet::rt::SPARSENET_ISA {

constexpr int kPanelChannels = 64;

SPARSENET_INLINE int panel_blocks(int channels) {
  return ceil_div(channels, kPanelChannels);
}

// Whether windows can be read in the image itself, leaving out what is outside of it.
SPARSENET_INLINE bool reads_in_place(const Step& s) {
  return s.in.segment_count == 1 && !s.in.segments[0].constant && !s.affine.scale && s.window.pad_left >= 0 &&
         s.window.pad_top >= 0;
}

// The taps [begin, end) of a window that begins at `first` and lie in the image.
struct TapRange {
  int32_t begin, end;
};
SPARSENET_INLINE TapRange taps_inside(int first, int size, int kernel, int dilation) {
  const int begin = first < 0 ? ceil_div(-first, dilation) : 0;
  const int end = size > first ? imin(kernel, ceil_div(size - first, dilation)) : 0;
  return {begin, imax(begin, end)};
}

// Copies `channels` neighbouring channels of `count` pixels.
template <Pre kPre>
SPARSENET_INLINE void gather_piece(const Source& s, const float* x, ptrdiff_t stride, int channel, int channels,
                                   int count, float* y) {
  const V low = splat(s.low), high = splat(s.high);
  if (channels <= kLanes) {  // as in DenseNets: scale and shift stay in registers
    const V one_scale = kPre == Pre::kNone ? V{} : load_first(s.scale + channel, channels);
    const V one_shift = kPre == Pre::kNone ? V{} : load_first(s.shift + channel, channels);
    for (int p = 0; p < count; ++p, x += stride, y += kPanelChannels) {
      store_first(y, apply_pre<kPre>(load_first(x, channels), one_scale, one_shift, low, high), channels);
    }
    return;
  }
  const int whole = channels / kLanes * kLanes, rest = channels - whole;
  const float* scale = kPre == Pre::kNone ? nullptr : s.scale + channel;
  const float* shift = kPre == Pre::kNone ? nullptr : s.shift + channel;
  for (int p = 0; p < count; ++p, x += stride, y += kPanelChannels) {
    for (int c = 0; c < whole; c += kLanes) {
      if constexpr (kPre == Pre::kNone) {
        store(y + c, load(x + c));
      } else {
        store(y + c, apply_pre<kPre>(load(x + c), load(scale + c), load(shift + c), low, high));
      }
    }
    if (rest == 0) continue;
    V v = load_first(x + whole, rest);
    if constexpr (kPre != Pre::kNone) {
      v = apply_pre<kPre>(v, load_first(scale + whole, rest), load_first(shift + whole, rest), low, high);
    }
    store_first(y + whole, v, rest);
  }
}

template <Pre kPre>
inline void gather_panel_impl(const Source& s, int64_t pixel, int count, int step, int begin, int end, float* panel,
                              ptrdiff_t block_stride) {
  int first = 0;  // channel of a segment
  for (int32_t i = 0; i < s.count && first < end; first += s.segments[i].channels, ++i) {
    const GatherRange& segment = s.segments[i];
    const float* base = segment.base + pixel * segment.pixel_stride;
    const int last = imin(end, first + segment.channels);
    for (int c = imax(begin, first); c < last;) {
      const int at = (c - begin) % kPanelChannels;
      const int channels = imin(last - c, kPanelChannels - at);
      gather_piece<kPre>(s, base + (c - first), ptrdiff_t{segment.pixel_stride} * step, c, channels, count,
                         panel + (c - begin) / kPanelChannels * block_stride + at);
      c += channels;
    }
  }
}

// Writes the channels [begin, end) of `count` pixels of a source, every `step`-th from `pixel` on, into a panel, with
// affine and bounds applied.
inline void gather_panel(const Source& s, int64_t pixel, int count, int step, int begin, int end, float* panel,
                         ptrdiff_t block_stride) {
  by_pre(s, [&](auto pre) {
    gather_panel_impl<decltype(pre)::value>(s, pixel, count, step, begin, end, panel, block_stride);
  });
}

// One dimension of the input rows that a band of output rows needs. Output x reads input x * stride + tap * dilation. A
// panel stores the inputs by their remainder modulo the stride (a phase each), so that what neighbouring outputs read
// is neighbouring for every tap. Phases that no tap reads are left out: a 1x1 convolution of stride 2 gathers a quarter
// of its input.
struct Axis {
  int32_t size, stride, pad;  // of the image
  int32_t phases, length;     // how many phases there are, and pixels of one
};

// For `outputs` neighbouring outputs.
SPARSENET_INLINE Axis phased_axis(int size, int kernel, int stride, int dilation, int pad, int outputs) {
  const int reach = (kernel - 1) * dilation;
  return {size, stride, pad, imin(stride, reach + 1), outputs + reach / stride};
}
// All inputs in one phase.
SPARSENET_INLINE Axis plain_axis(int size, int kernel, int stride, int dilation, int pad, int outputs) {
  return {size, 1, pad, 1, (outputs - 1) * stride + (kernel - 1) * dilation + 1};
}

struct Panel {
  Axis y, x;
  ptrdiff_t row, block_stride;  // floats of a row of pixels, and of a block of channels
};

// Floats of a block of channels.
SPARSENET_INLINE int64_t block_floats(const Axis& y, const Axis& x) {
  return int64_t{y.phases} * y.length * x.phases * x.length * kPanelChannels;
}

SPARSENET_INLINE Panel make_panel(const Axis& y, const Axis& x) {
  const ptrdiff_t row = ptrdiff_t{x.phases} * x.length * kPanelChannels;
  return {y, x, row, static_cast<ptrdiff_t>(block_floats(y, x))};
}

// Gathers the pixels of one phase of an input row: those at columns phase + i * stride - pad.
inline void fill_row(const Source& s, const Panel& panel, int64_t row_pixel, int phase, int begin, int end, float* to) {
  const Axis& x = panel.x;
  const int first = phase - x.pad;  // column of pixel 0
  const int left = imin(first < 0 ? ceil_div(-first, x.stride) : 0, x.length);
  const int last = x.size > first ? imin(ceil_div(x.size - first, x.stride), x.length) : 0;
  const int inside = imax(last - left, 0);
  const int right = left + inside;
  for (int b = 0; b < panel_blocks(end - begin); ++b) {
    float* p = to + b * panel.block_stride;
    memset(p, 0, static_cast<size_t>(left) * kPanelChannels * sizeof(float));
    memset(p + ptrdiff_t{right} * kPanelChannels, 0,
           static_cast<size_t>(x.length - right) * kPanelChannels * sizeof(float));
  }
  if (inside > 0) {
    gather_panel(s, row_pixel + first + ptrdiff_t{left} * x.stride, inside, x.stride, begin, end,
                 to + ptrdiff_t{left} * kPanelChannels, panel.block_stride);
  }
}

// Gathers the channels [begin, end) of the input rows of an image that belong to rows 0 to `lines` of every phase,
// where the first one is row `y0 * stride - pad` of the image. `begin` is a multiple of kPanelChannels.
inline void fill_panel(const Source& s, const Panel& panel, int image, int y0, int lines, int begin, int end,
                       float* to) {
  for (int py = 0; py < panel.y.phases; ++py) {
    for (int r = 0; r < lines; ++r) {
      const int y = (y0 + r) * panel.y.stride + py - panel.y.pad;
      float* row = to + (ptrdiff_t{py} * panel.y.length + r) * panel.row;
      if (y < 0 || y >= panel.y.size) {
        for (int b = 0; b < panel_blocks(end - begin); ++b) {
          memset(row + b * panel.block_stride, 0, static_cast<size_t>(panel.row) * sizeof(float));
        }
        continue;
      }
      const int64_t row_pixel = (int64_t{image} * panel.y.size + y) * panel.x.size;
      for (int px = 0; px < panel.x.phases; ++px) {
        fill_row(s, panel, row_pixel, px, begin, end, row + ptrdiff_t{px} * panel.x.length * kPanelChannels);
      }
    }
  }
}

}  // namespace sparsenet::rt::SPARSENET_ISA

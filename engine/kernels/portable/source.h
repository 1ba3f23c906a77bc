// Source: what a kernel reads its input pixels from: one or more channel ranges, with an optional affine with bounds
// that is applied on the way.
#pragma once

#include "kernels/portable/simd.h"
#include "runtime/gather.h"
#include "step/step.h"

namespace sparsenet::rt::SPARSENET_ISA {

struct Source {
  const GatherRange* segments;
  int32_t count;
  int32_t channels;
  const float* scale;  // null: no affine
  const float* shift;
  float low, high;

  // Whether pixels can be read in place.
  bool dense() const { return count == 1 && !scale; }
};

SPARSENET_INLINE size_t source_bytes(const View& view) {
  return static_cast<size_t>(view.segment_count) * sizeof(GatherRange);
}

// Makes the source of a step's input. Its segments are stored in `storage`, of source_bytes() bytes.
inline Source make_source(const Step& step, uint8_t* arena, void* storage) {
  auto* segments = static_cast<GatherRange*>(storage);
  for (int32_t i = 0; i < step.in.segment_count; ++i) {
    const Segment& s = step.in.segments[i];
    segments[i].base = f32(s, arena);
    segments[i].channels = s.channels;
    segments[i].pixel_stride = s.pixel_stride;
  }
  return {segments,        step.in.segment_count, step.in.c, step.affine.scale.f32(), step.affine.shift.f32(),
          step.affine.low, step.affine.high};
}

SPARSENET_INLINE float* dense_pointer(const View& view, uint8_t* arena) {
  return view.segment_count == 0 ? nullptr : reinterpret_cast<float*>(arena + view.segments[0].offset);
}

enum class Pre { kNone, kLow, kBoth };  // no affine; affine then max; affine then max and min

SPARSENET_INLINE Pre pre_of(const Source& s) {
  return !s.scale ? Pre::kNone : s.high == INFINITY ? Pre::kLow : Pre::kBoth;
}

template <Pre kPre>
SPARSENET_INLINE V apply_pre(V x, V scale, V shift, V low, V high) {
  if (kPre == Pre::kNone) return x;
  x = vmax(low, x * scale + shift);
  return kPre == Pre::kBoth ? vmin(high, x) : x;
}

// A Pre as a type, for by_pre.
template <Pre kValue>
struct PreTag {
  static constexpr Pre value = kValue;
};

// Calls f(PreTag) with the source's own Pre, so that the inner loops know it at compile time.
template <class F>
SPARSENET_INLINE void by_pre(const Source& s, F f) {
  switch (pre_of(s)) {
    case Pre::kNone:
      f(PreTag<Pre::kNone>{});
      break;
    case Pre::kLow:
      f(PreTag<Pre::kLow>{});
      break;
    case Pre::kBoth:
      f(PreTag<Pre::kBoth>{});
      break;
  }
}

// A vector of channels, the same ones of every pixel: those of pixel p are at base + p * stride.
struct ChannelVector {
  const float* base;
  ptrdiff_t stride;
  int channel, lanes;  // index of the first channel among all; how many lanes are in use
  V scale, shift;
};

// For for_each_vector, where it does not matter which channels a vector spans.
constexpr int kAnyBlock = 1 << 30;

// Calls f for all channels of a source, a vector at a time; vectors cross neither segments nor multiples of kBlock
// channels.
template <Pre kPre, int kBlock, class F>
SPARSENET_INLINE void for_each_vector(const Source& s, F f) {
  int channel = 0;
  for (int32_t i = 0; i < s.count; ++i) {
    const GatherRange& segment = s.segments[i];
    for (int c = 0, lanes = 0; c < segment.channels; c += lanes) {
      lanes = imin(kLanes, imin(segment.channels - c, kBlock - (channel + c) % kBlock));
      ChannelVector v{segment.base + c, segment.pixel_stride, channel + c, lanes, V{}, V{}};
      if (kPre != Pre::kNone) {
        v.scale = load_first(s.scale + v.channel, lanes);
        v.shift = load_first(s.shift + v.channel, lanes);
      }
      f(v);
    }
    channel += segment.channels;
  }
}

template <Pre kPre>
inline void gather_impl(const Source& s, int64_t pixel, int count, float* out, ptrdiff_t out_stride) {
  const V low = splat(s.low), high = splat(s.high);
  int channel = 0;
  for (int32_t i = 0; i < s.count; ++i) {
    const GatherRange& segment = s.segments[i];
    const ptrdiff_t stride = segment.pixel_stride;
    const float* base = segment.base + pixel * stride;
    int c = 0;
    for (; c + kLanes <= segment.channels; c += kLanes, channel += kLanes) {
      const V scale = kPre == Pre::kNone ? V{} : load(s.scale + channel);
      const V shift = kPre == Pre::kNone ? V{} : load(s.shift + channel);
      const float* x = base + c;
      float* y = out + channel;
      for (int p = 0; p < count; ++p, x += stride, y += out_stride) {
        store(y, apply_pre<kPre>(load(x), scale, shift, low, high));
      }
    }
    const int rest = segment.channels - c;
    if (rest > 0) {
      const V scale = kPre == Pre::kNone ? V{} : load_first(s.scale + channel, rest);
      const V shift = kPre == Pre::kNone ? V{} : load_first(s.shift + channel, rest);
      const float* x = base + c;
      float* y = out + channel;
      for (int p = 0; p < count; ++p, x += stride, y += out_stride) {
        store_first(y, apply_pre<kPre>(load_first(x, rest), scale, shift, low, high), rest);
      }
      channel += rest;
    }
  }
}

// Writes `count` consecutive pixels, each with all its channels side by side, with affine and bounds applied.
inline void gather(const Source& s, int64_t pixel, int count, float* out, ptrdiff_t out_stride) {
  const ptrdiff_t stride = s.segments[0].pixel_stride;
  if (s.count == 1 && stride == s.channels && stride == out_stride && pre_of(s) == Pre::kNone) {
    // A step may work in place, and one of a damaged plan may write to what it reads.
    memmove(out, s.segments[0].base + pixel * stride, static_cast<size_t>(count * stride) * sizeof(float));
    return;
  }
  by_pre(s, [&](auto pre) { gather_impl<decltype(pre)::value>(s, pixel, count, out, out_stride); });
}

}  // namespace sparsenet::rt::SPARSENET_ISA

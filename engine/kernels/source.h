// Source: where a kernel reads its input pixels from: one or more channel ranges, an affine with bounds on the way.
#pragma once

#include "kernels/simd.h"
#include "runtime/step.h"

namespace sparsenet::rt::SPARSENET_ISA {

struct SourceSegment {
  const float* base;
  int32_t channels;
  int32_t pixel_stride;
};

struct Source {
  const SourceSegment* segments;
  int32_t count;
  int32_t channels;
  const float* scale;  // null: no affine
  const float* shift;
  float low, high;

  // Pixels can be read in place.
  bool dense() const { return count == 1 && !scale; }
};

SPARSENET_INLINE size_t source_bytes(const View& view) {
  return static_cast<size_t>(view.segment_count) * sizeof(SourceSegment);
}

// Resolves a step's input into `storage` (source_bytes of it).
inline Source make_source(const Step& step, uint8_t* arena, void* storage) {
  auto* segments = static_cast<SourceSegment*>(storage);
  for (int32_t i = 0; i < step.in.segment_count; ++i) {
    const Segment& s = step.in.segments[i];
    segments[i].base = s.constant ? s.constant : reinterpret_cast<const float*>(arena + s.offset);
    segments[i].channels = s.channels;
    segments[i].pixel_stride = s.pixel_stride;
  }
  return {segments, step.in.segment_count, step.in.c, step.pre_scale, step.pre_shift, step.pre_low, step.pre_high};
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
  x = vmax(x * scale + shift, low);
  return kPre == Pre::kBoth ? vmin(x, high) : x;
}

template <Pre kPre>
inline void gather_impl(const Source& s, int64_t pixel, int count, float* out, ptrdiff_t out_stride) {
  const V low = splat(s.low), high = splat(s.high);
  int channel = 0;
  for (int32_t i = 0; i < s.count; ++i) {
    const SourceSegment& segment = s.segments[i];
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

// Writes `count` consecutive pixels, all channels side by side, affine and bounds applied.
inline void gather(const Source& s, int64_t pixel, int count, float* out, ptrdiff_t out_stride) {
  switch (pre_of(s)) {
    case Pre::kNone:
      gather_impl<Pre::kNone>(s, pixel, count, out, out_stride);
      break;
    case Pre::kLow:
      gather_impl<Pre::kLow>(s, pixel, count, out, out_stride);
      break;
    case Pre::kBoth:
      gather_impl<Pre::kBoth>(s, pixel, count, out, out_stride);
      break;
  }
}

}  // namespace sparsenet::rt::SPARSENET_ISA

// Copies between the arena and a caller's array, which has the graph's own order (images: NCHW).
#pragma once

#include "runtime/port_affine.h"
#include "step/step.h"

namespace sparsenet::rt {

// Walks over the channels of all images of a view. One function for all loops, because devices have little flash.
struct ChannelWalk {
  const View& view;
  const Segment* segment;  // the current one
  int64_t area, offset = 0, pixel = 0;
  int32_t channel = -1, image = 0, first = 0;

  explicit ChannelWalk(const View& v) : view(v), segment(v.segments), area(int64_t{v.h} * v.w) {}

  // Goes to the next channel; false if there is none.
  __attribute__((noinline)) bool next() {
    if (++channel == segment->channels) {
      channel = 0;
      if (++image == view.n) {
        image = 0;
        first += segment->channels;
        if (++segment == view.segments + view.segment_count) return false;
      }
    }
    pixel = image * area;
    offset = (int64_t{image} * view.c + first + channel) * area;
    return true;
  }
};

// Calls visit(offset in the caller's array, first pixel, number of pixels, segment, channel within the segment) for
// every channel of every image of a view.
template <class Visit>
void for_each_channel(const View& v, Visit visit) {
  for (ChannelWalk walk(v); walk.next();) visit(walk.offset, walk.pixel, walk.area, *walk.segment, walk.channel);
}

// Elements of type T in the arena from elements of the caller's, and back; `convert` makes one of the other.
template <class T, class From, class Convert>
void copy_to_view(const View& v, uint8_t* arena, const From* data, Convert convert) {
  for_each_channel(v, [&](int64_t from, int64_t pixel, int64_t area, const Segment& s, int32_t c) {
    T* to = reinterpret_cast<T*>(arena + s.offset) + pixel * s.pixel_stride + c;
    for (int64_t p = 0; p < area; ++p) to[p * s.pixel_stride] = convert(data[from + p]);
  });
}

template <class T, class To, class Convert>
void copy_from_view(const View& v, const uint8_t* arena, To* data, Convert convert) {
  for_each_channel(v, [&](int64_t to, int64_t pixel, int64_t area, const Segment& s, int32_t c) {
    const void* base = s.constant ? s.constant : arena + s.offset;
    const T* from = static_cast<const T*>(base) + pixel * s.pixel_stride + c;
    for (int64_t p = 0; p < area; ++p) data[to + p] = convert(from[p * s.pixel_stride]);
  });
}

inline void copy_to_view(const View& v, uint8_t* arena, const float* data) {
  for_each_channel(v, [&](int64_t from, int64_t pixel, int64_t area, const Segment& s, int32_t c) {
    float* to = reinterpret_cast<float*>(arena + s.offset) + pixel * s.pixel_stride + c;
    for (int64_t p = 0; p < area; ++p) to[p * s.pixel_stride] = data[from + p];
  });
}

inline void copy_from_view(const View& v, const uint8_t* arena, float* data) {
  for_each_channel(v, [&](int64_t to, int64_t pixel, int64_t area, const Segment& s, int32_t c) {
    const float* from = f32(s, arena) + pixel * s.pixel_stride + c;
    for (int64_t p = 0; p < area; ++p) data[to + p] = from[p * s.pixel_stride];
  });
}

// Whether test vectors may hold integers for an input that is float32: only if it is in one piece without gaps.
inline bool may_hold_integers(const View& v) {
  return v.type == DataType::kFloat32 && v.segment_count == 1 && v.segments[0].pixel_stride == v.c;
}

// Elements of the view's own type, which is float32, int8 or uint8. (One function for all callers, as above.)
__attribute__((noinline)) inline void copy_elements_to_view(const View& v, uint8_t* arena, const void* data) {
  if (v.type == DataType::kFloat32) return copy_to_view(v, arena, static_cast<const float*>(data));
  copy_to_view<uint8_t>(v, arena, static_cast<const uint8_t*>(data), [](uint8_t x) { return x; });
}

inline void copy_elements_from_view(const View& v, const uint8_t* arena, void* data) {
  if (v.type == DataType::kFloat32) return copy_from_view(v, arena, static_cast<float*>(data));
  copy_from_view<uint8_t>(v, arena, static_cast<uint8_t*>(data), [](uint8_t x) { return x; });
}

// Real numbers, whatever the view's type is.
inline void copy_real_to_view(const View& v, const PortAffine& affine, uint8_t* arena, const float* data) {
  if (v.type == DataType::kFloat32) return copy_to_view(v, arena, data);
  const bool is_signed = v.type == DataType::kInt8;
  const int32_t low = is_signed ? -128 : 0, high = low + 255;
  copy_to_view<uint8_t>(v, arena, data, [&](float x) { return static_cast<uint8_t>(affine.integer(x, low, high)); });
}

inline void copy_real_from_view(const View& v, const PortAffine& affine, const uint8_t* arena, float* data) {
  if (v.type == DataType::kFloat32) return copy_from_view(v, arena, data);
  const bool is_signed = v.type == DataType::kInt8;
  copy_from_view<uint8_t>(v, arena, data, [&](uint8_t x) {
    return affine.real(is_signed ? static_cast<int8_t>(x) : static_cast<int32_t>(x));
  });
}

}  // namespace sparsenet::rt

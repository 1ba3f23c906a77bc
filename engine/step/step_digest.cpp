#include "step/step_digest.h"

#include <math.h>

namespace sparsenet::rt {
namespace {

// Whether the value at an index gets a negative sign: the top bit of a hash of the index, so that signs look random.
bool negative(uint32_t index) {
  index *= 0x9e3779b1u;
  index ^= index >> 15;
  index *= 0x85ebca77u;
  return (index >> 31) != 0;
}

// FNV-1a over the bytes, in two halves, which floats hold exactly.
StepDigest digest_bytes(const View& view, const uint8_t* arena) {
  uint32_t hash = 2166136261u;
  const int64_t pixels = int64_t{view.n} * view.h * view.w;
  for (int32_t s = 0; s < view.segment_count; ++s) {
    const Segment& segment = view.segments[s];
    const uint8_t* bytes = segment.constant ? static_cast<const uint8_t*>(segment.constant) : arena + segment.offset;
    for (int64_t p = 0; p < pixels; ++p, bytes += segment.pixel_stride) {
      for (int32_t c = 0; c < segment.channels; ++c) hash = (hash ^ bytes[c]) * 16777619u;
    }
  }
  return {static_cast<float>(hash >> 16), static_cast<float>(hash & 0xffff)};
}

}  // namespace

StepDigest digest(const View& view, const uint8_t* arena) {
  if (view.type != DataType::kFloat32) return digest_bytes(view, arena);
  double sum = 0, square = 0;
  uint32_t index = 0;
  const int64_t pixels = int64_t{view.n} * view.h * view.w;
  for (int32_t s = 0; s < view.segment_count; ++s) {
    const Segment& segment = view.segments[s];
    const float* values = f32(segment, arena);
    for (int64_t p = 0; p < pixels; ++p, values += segment.pixel_stride) {
      float pixel_sum = 0, pixel_square = 0;
      for (int32_t c = 0; c < segment.channels; ++c) {
        pixel_sum += negative(index++) ? -values[c] : values[c];
        pixel_square += values[c] * values[c];
      }
      sum += static_cast<double>(pixel_sum);
      square += static_cast<double>(pixel_square);
    }
  }
  return {static_cast<float>(sum), static_cast<float>(sqrt(square))};
}

float difference(DataType type, const StepDigest& found, const StepDigest& expected) {
  if (type != DataType::kFloat32) {
    return found.sum == expected.sum && found.norm == expected.norm ? 0.f : __builtin_inff();
  }
  const float a = __builtin_fabsf(found.sum - expected.sum), b = __builtin_fabsf(found.norm - expected.norm);
  const float larger = (a > b ? a : b) / (expected.norm > 1e-6f ? expected.norm : 1e-6f);
  return a + b - (a + b) == 0 ? larger : __builtin_inff();
}

}  // namespace sparsenet::rt

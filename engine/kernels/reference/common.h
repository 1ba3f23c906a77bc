// What the reference kernels share. Their state is the step itself.
#pragma once

#include <sparsenet/half.h>

#include <cmath>
#include <cstring>

#include "kernels/reference/activation.h"
#include "runtime/kernel.h"

namespace sparsenet::rt {

struct ReferenceState {
  Step step;
  uint8_t* arena;
};

inline void reference_query(const Step&, KernelNeeds* needs) {
  *needs = {sizeof(ReferenceState), 0, 0, 0, 1};
}

inline const char* reference_prepare(const Step& step, const Place& place) {
  const ReferenceState value{step, place.arena};
  std::memcpy(place.state, &value, sizeof(value));
  return nullptr;
}

// The `supports` of a kernel that runs every step of one kind.
template <StepOp kOp>
bool supports(const Step& step) {
  return step.op == kOp;
}

inline int64_t pixels_of(const View& v) {
  return int64_t{v.n} * v.h * v.w;
}

// An element of a parameter, which is float32 or float16.
__attribute__((noinline)) inline float number(const Parameter& parameter, int64_t i) {
  return parameter.type == DataType::kFloat16 ? half_to_float(static_cast<const uint16_t*>(parameter.data)[i])
                                              : parameter.f32()[i];
}

// Channel c of a pixel of a view.
inline float* element(const View& view, uint8_t* arena, int64_t pixel, int32_t c) {
  const Segment* segment = view.segments;
  while (c >= segment->channels) {
    c -= segment->channels;
    ++segment;
  }
  auto* base = const_cast<float*>(f32(*segment, arena));  // constants are only read, by construction
  return base + pixel * segment->pixel_stride + c;
}

// The operands of a step that trains.
struct Operands {
  const ReferenceState& r;
  const View& view(int i) const { return r.step.train.operands[i]; }
  bool has(int i) const { return i < r.step.train.operand_count && view(i).segment_count > 0; }
  float& at(int i, int64_t pixel, int32_t c) const { return *element(view(i), r.arena, pixel, c); }
  float* dense(int i) const { return element(view(i), r.arena, 0, 0); }
  int64_t count(int i) const { return pixels_of(view(i)) * view(i).c; }
};

// The input of a step at a pixel, with the affine and the bounds in front of it.
inline float input_at(const ReferenceState& s, int64_t pixel, int32_t c) {
  const float x = *element(s.step.in, s.arena, pixel, c);
  const AffineParams& affine = s.step.affine;
  if (!affine.scale) return x;
  return bounded_one(x * number(affine.scale, c) + number(affine.shift, c), affine.low, affine.high);
}

}  // namespace sparsenet::rt

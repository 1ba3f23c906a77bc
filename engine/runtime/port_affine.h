// Between the integers of an input or output and the real numbers that they stand for.
#pragma once

#include <stdint.h>

namespace sparsenet::rt {

struct PortAffine {
  float scale = 1.f;
  int32_t zero = 0;

  // Ties go away from zero; beyond the type's range, from `low` to `high`, it is the nearest number there, and the zero
  // point for NaN.
  int32_t integer(float real, int32_t low, int32_t high) const {
    const float v = __builtin_roundf(real / scale) + static_cast<float>(zero);
    if (v != v) return zero;
    return v < static_cast<float>(low) ? low : v > static_cast<float>(high) ? high : static_cast<int32_t>(v);
  }
  float real(int32_t integer) const { return static_cast<float>(integer - zero) * scale; }
};

}  // namespace sparsenet::rt

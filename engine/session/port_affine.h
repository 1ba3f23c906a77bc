// Between the integers of an input or output and the real numbers that they stand for.
#pragma once

#include <cmath>
#include <limits>

#include "plan/plan.h"

namespace sparsenet {

class PortAffine {
 public:
  explicit PortAffine(const PlanPort& port) {
    if (port.quantization.empty()) return;
    scale_ = port.quantization.scales[0];
    zero_ = port.quantization.zero_points[0];
  }

  // Ties go away from zero; beyond the type's range it is the nearest number there, and the zero point for NaN.
  template <class T>
  T integer(float real) const {
    constexpr float kLow = std::numeric_limits<T>::min(), kHigh = std::numeric_limits<T>::max();
    const float v = std::round(real / scale_) + static_cast<float>(zero_);
    if (std::isnan(v)) return static_cast<T>(zero_);
    return static_cast<T>(v < kLow ? kLow : v > kHigh ? kHigh : v);
  }
  float real(int32_t integer) const { return static_cast<float>(integer - zero_) * scale_; }

 private:
  float scale_ = 1.f;
  int32_t zero_ = 0;
};

}  // namespace sparsenet

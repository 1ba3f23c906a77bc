// Sizes that cannot overflow, for the checks of views and of steps.
#pragma once

#include "step/step_check.h"

namespace sparsenet::rt {

inline int64_t pixels(const View& v) {
  return int64_t{v.n} * v.h * v.w;
}

// Whether all factors are at least 1 and their product is at most kMostElements.
inline bool countable(const int32_t* factors, int count) {
  int64_t product = 1;
  for (int i = 0; i < count; ++i) {
    if (factors[i] < 1) return false;
    product *= factors[i];
    if (product > kMostElements) return false;
  }
  return true;
}

inline bool countable(const View& v) {
  const int32_t factors[] = {v.n, v.h, v.w, v.c};
  return countable(factors, 4);
}

// The number of elements from the first that a segment covers to its last. The view's sizes must have been checked.
inline int64_t extent(const View& v, const Segment& s) {
  return (pixels(v) - 1) * s.pixel_stride + s.channels;
}

// The same for a view of one segment.
inline int64_t extent(const View& v) {
  return extent(v, v.segments[0]);
}

}  // namespace sparsenet::rt

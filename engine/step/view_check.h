// What checks of views and of steps share: sizes that cannot overflow.
#pragma once

#include "step/step_check.h"

namespace sparsenet::rt {

inline int64_t pixels(const View& v) {
  return int64_t{v.n} * v.h * v.w;
}

// Factors of at least 1 whose product is at most kMostElements.
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

// Elements from the first that a segment covers to its last; the view's sizes are checked.
inline int64_t extent(const View& v, const Segment& s) {
  return (pixels(v) - 1) * s.pixel_stride + s.channels;
}

// Elements behind the beginning of a view that is one segment.
inline int64_t extent(const View& v) {
  return extent(v, v.segments[0]);
}

}  // namespace sparsenet::rt

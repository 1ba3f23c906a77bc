// What checks of views and of steps share: sizes that cannot overflow.
#pragma once

#include "step/step_check.h"

namespace sparsenet::rt {

int64_t pixels(const View& v);

// Factors of at least 1 whose product is at most kMostElements.
bool countable(const int32_t* factors, int count);

bool countable(const View& v);

// Elements from the first that a segment covers to its last; the view's sizes are checked.
int64_t extent(const View& v, const Segment& s);

// Elements behind the beginning of a view that is one segment.
int64_t extent(const View& v);

}  // namespace sparsenet::rt

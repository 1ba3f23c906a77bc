// What the checks of views and of steps share: sizes that cannot overflow.
#pragma once

#include "step/step_check.h"

namespace sparsenet::rt {

int64_t pixels(const View& v);

// Whether all factors are at least 1 and their product is at most kMostElements.
bool countable(const int32_t* factors, int count);
bool countable(const View& v);

// The number of elements from the first that a segment covers to its last. The view's sizes must have been checked.
int64_t extent(const View& v, const Segment& s);
// The same for a view of one segment.
int64_t extent(const View& v);

}  // namespace sparsenet::rt

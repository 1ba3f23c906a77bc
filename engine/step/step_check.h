// Checks of a plan that comes from outside: whether kernels may run its steps without reading or writing beyond the
// arena and the constants, and without sums that overflow. Needs neither graph nor heap. Messages have static storage;
// null means that all is well.
#pragma once

#include "step/step.h"

namespace sparsenet::rt {

// What a plan's steps may touch.
struct PlanRoom {
  size_t arena_bytes;
  // How many bytes can be read from `at` on; 0 where it is in no constant.
  int64_t (*bytes)(const void* self, const void* at);
  const void* self;
};

// Where weight and bias of a variable step are: floats from the start of the arena; -1: there is none.
struct StepLinks {
  int64_t weight, bias;
};

// Whether so many elements of a parameter lie in a constant; float32 or float16.
bool readable(const Parameter& parameter, int64_t elements, const PlanRoom& room);

// Sizes, segments, and that all of it lies within the arena or its constants. `written`: in the arena alone.
const char* check_view(const View& view, const PlanRoom& room, bool written);

// Bytes from the start of the arena to the end of what a checked view covers there. A plan cannot claim an arena beyond
// the last of these: its readers refuse that.
size_t arena_end(const View& view);
size_t arena_end(const Step& step);

// A step that plans may hold, with everything that kernels take for granted.
const char* check_step(const Step& step, const StepLinks& links, const PlanRoom& room);

}  // namespace sparsenet::rt

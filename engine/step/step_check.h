// Checks of a plan that comes from outside: whether kernels may run its steps without reading or writing beyond the
// arena and the constants, and without sums that overflow. Needs neither graph nor heap. Messages have static storage;
// null means that all is well.
#pragma once

#include "step/step.h"

namespace sparsenet::rt {

// The memory that a plan's steps may access.
struct PlanRoom {
  size_t arena_bytes;
  // How many bytes of a constant can be read from `at` on; 0 if `at` is in no constant.
  int64_t (*bytes)(const void* self, const void* at);
  const void* self;
};

// Where the weight and the bias of a variable step are, in floats from the start of the arena; -1: there is none.
struct StepLinks {
  int64_t weight, bias;
};

// Whether a parameter is float32 or float16 and has `elements` elements within a constant.
bool readable(const Parameter& parameter, int64_t elements, const PlanRoom& room);

// The same for another type.
bool readable_as(DataType type, const Parameter& parameter, int64_t elements, const PlanRoom& room);

// Checks a view's sizes and segments, and that all of it lies within the arena or its constants; if it is `written`,
// within the arena alone.
const char* check_view(const View& view, const PlanRoom& room, bool written);

// Bytes from the start of the arena to the end of what a checked view, or the views of a step, cover there. Readers
// refuse a plan whose arena is larger than its steps and ports need by this measure.
size_t arena_end(const View& view);
size_t arena_end(const Step& step);

// Checks that stored plans may hold such a step, and everything about it that kernels take for granted.
const char* check_step(const Step& step, const StepLinks& links, const PlanRoom& room);

}  // namespace sparsenet::rt

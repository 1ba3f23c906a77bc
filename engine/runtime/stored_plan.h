// Reads a plan where it stands in a model file: in a memory map, or in flash. No heap; a step at a time, into memory of
// the caller's. All is checked, so that what is returned may be bound and run.
#pragma once

#include "runtime/plan_check.h"

namespace sparsenet::schema {
struct Plan;
}

namespace sparsenet::rt {

constexpr uint32_t kPlanVersion = 1;  // the newest that this runtime reads

// The file has passed FlatBuffers' verifier; `data` is its data section, at a multiple of 64.
struct PlanFile {
  const schema::Plan* plan;
  const uint8_t* data;
  uint64_t data_bytes;
};

// Messages have static storage; null means that all is well.

// Before anything else: version, sizes, constants.
const char* check_plan(const PlanFile& file);

PlanRoom room_of(const PlanFile& file);  // `file` must stay

// A view by its index. `segments` has room for `capacity`; where that is too little, a message says so.
const char* read_view(const PlanFile& file, uint32_t index, Segment* segments, uint32_t capacity, View* view);

// The number of segments that a step's views have together.
const char* count_segments(const PlanFile& file, uint32_t step, uint32_t* count);

// A step by its index. It points into the file, to `segments` and to `strided`, which it uses where it needs them.
const char* read_step(const PlanFile& file, uint32_t index, Segment* segments, uint32_t capacity, Strided* strided,
                      Step* step);

// An input or an output: its view, checked against its shape, and the shape's rank and dimensions (room for kMaxDims).
const char* read_port(const PlanFile& file, bool output, uint32_t index, Segment* segments, uint32_t capacity,
                      View* view, int32_t* rank, int32_t* dims);

}  // namespace sparsenet::rt

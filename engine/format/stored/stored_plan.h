// Reads a plan where it stands in a model file: in a memory map, or in flash. No heap; a step at a time, into memory of
// the caller's. All is checked, so that what is returned may be bound and run.
#pragma once

#include "step/step_check.h"

namespace sparsenet::schema {
struct Plan;
}

namespace sparsenet::rt {

// The newest that this runtime reads. Plans say the oldest that has what they need:
//   2: training
//   3: types other than float32; activations from Elu on
constexpr uint32_t kPlanVersion = 3;
constexpr uint32_t kTrainingPlanVersion = 2, kTypedPlanVersion = 3;

constexpr uint32_t kMaxOperands = 8;  // of one step

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

// An element of a constant.
const char* resolve_constant(const PlanFile& file, uint32_t constant, uint32_t element, Parameter* out);
DataType constant_type(const PlanFile& file, uint32_t constant);  // of one that exists

// What a step's views take together.
struct StepParts {
  uint32_t segments, operands;
};
const char* count_parts(const PlanFile& file, uint32_t step, StepParts* parts);

// Where a step's parts go: it points to them, and uses as much as it needs.
struct StepMemory {
  Segment* segments;
  uint32_t segment_capacity;
  View* operands;
  uint32_t operand_capacity;
  Strided* strided;
};

// A step by its index. It points into the file and to `memory`. Where it is `variable`, `links` says where its weight
// and bias will be.
const char* read_step(const PlanFile& file, uint32_t index, const StepMemory& memory, Step* step, StepLinks* links);

// An input or an output: its view, checked against its shape, and the shape's rank and dimensions (room for kMaxDims).
const char* read_port(const PlanFile& file, bool output, uint32_t index, Segment* segments, uint32_t capacity,
                      View* view, int32_t* rank, int32_t* dims);

}  // namespace sparsenet::rt

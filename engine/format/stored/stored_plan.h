// Reads a stored plan in place, from a model file in a memory map or in flash. It uses no heap: steps are read one at a
// time, into the caller's memory. Everything is checked, so that what is returned may be bound and run.
#pragma once

#include "step/step_check.h"

namespace sparsenet::schema {
struct Plan;
}

namespace sparsenet::rt {

// The newest version of plans that this runtime reads. A plan states the oldest version that has what it needs:
//   2: training
//   3: types other than float32; activations from Elu on
//   4: Exp, Log, Pow; Max, Min, Prelu; MatMul, LayerNorm
//   5: steps that compute with integers
constexpr uint32_t kPlanVersion = 5;
constexpr uint32_t kTrainingPlanVersion = 2, kTypedPlanVersion = 3, kGeneralPlanVersion = 4, kIntegerPlanVersion = 5;

constexpr uint32_t kMaxOperands = 8, kMaxQuant = 2;  // of one step

// A plan in a file that has passed FlatBuffers' verifier; `data` is the file's data section, at a multiple of 64.
struct PlanFile {
  const schema::Plan* plan;
  const uint8_t* data;
  uint64_t data_bytes;
};

// Messages that these functions return have static storage; null means that all is well.

// To be called before anything else: checks version, sizes and constants.
const char* check_plan(const PlanFile& file);

PlanRoom room_of(const PlanFile& file);  // `file` must outlive the result

// Reads a view by its index. `segments` has room for `capacity` segments; it is an error if that is too little.
const char* read_view(const PlanFile& file, uint32_t index, Segment* segments, uint32_t capacity, View* view);

// Points *out to an element of a constant.
const char* resolve_constant(const PlanFile& file, uint32_t constant, uint32_t element, Parameter* out);
DataType constant_type(const PlanFile& file, uint32_t constant);  // the constant must exist

// How many segments, operands and QuantParams a step has.
struct StepParts {
  uint32_t segments, operands, quant;
};
const char* count_parts(const PlanFile& file, uint32_t step, StepParts* parts);

// Memory for the parts of a step, which will point to them.
struct StepMemory {
  Segment* segments;
  uint32_t segment_capacity;
  View* operands;
  uint32_t operand_capacity;
  Strided* strided;
  QuantParams* quant[kMaxQuant];  // as many as count_parts() tells
};

// Reads a step by its index. It points into the file and to `memory`. If it is variable (Step::conv), `links` says
// where in the arena its weight and bias will be.
const char* read_step(const PlanFile& file, uint32_t index, const StepMemory& memory, Step* step, StepLinks* links);

// Reads an input or an output: its view, checked against its shape, and the shape's rank and dimensions (`dims` has
// room for kMaxDims).
const char* read_port(const PlanFile& file, bool output, uint32_t index, Segment* segments, uint32_t capacity,
                      View* view, int32_t* rank, int32_t* dims);

}  // namespace sparsenet::rt

// Reads the training part of a stored plan: where its phases begin, what stays in the arena between training steps, and
// what the parameters are at the start. Messages have static storage; null means that all is well.
#pragma once

#include "format/stored/stored_plan.h"
#include "step/training_layout.h"

namespace sparsenet::rt {

// The values of a parameter, or of a piece of it, before the first training step.
struct InitialParameter {
  Parameter values;  // float32 or float16
  size_t elements;
  size_t offset;  // bytes from the start of the arena, where they are float32
};

// For a plan that has a training part; `file` must have passed check_plan.
const char* read_training(const PlanFile& file, TrainingLayout* training);
uint32_t count_initial(const PlanFile& file);
const char* read_initial(const PlanFile& file, const TrainingLayout& training, uint32_t index,
                         InitialParameter* parameter);

}  // namespace sparsenet::rt

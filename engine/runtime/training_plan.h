// The training part of a stored plan: where its phases begin, what stays in the arena between steps, what the
// parameters are at the start. Messages have static storage; null means that all is well.
#pragma once

#include "runtime/stored_plan.h"

namespace sparsenet::rt {

enum TrainingRegion : int32_t {
  kParameters = 0,
  kGradients,  // of the last image
  kGradientSum,
  kMomentumRegion,
  kControlRegion,  // Control
  kTrainingRegions
};

struct ArenaRange {
  size_t offset;  // bytes
  size_t floats;
};

// Phases begin at these steps: loss and gradients of one image; their sum; its norm; the update. What comes before
// computes the outputs.
struct TrainingPlan {
  int32_t loss, accumulate, norm, update;
  int32_t classes;
  ArenaRange regions[kTrainingRegions];
};

// A parameter, or a piece of it, before the first step.
struct InitialParameter {
  const float* values;
  size_t floats;
  size_t offset;  // bytes from the start of the arena
};

// Of a plan that has one: `file` has passed check_plan.
const char* read_training(const PlanFile& file, TrainingPlan* training);
uint32_t count_initial(const PlanFile& file);
const char* read_initial(const PlanFile& file, const TrainingPlan& training, uint32_t index,
                         InitialParameter* parameter);

}  // namespace sparsenet::rt

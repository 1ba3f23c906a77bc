// How a plan that trains on a device is divided: where its phases begin and what stays in the arena between its steps.
#pragma once

#include <stddef.h>
#include <stdint.h>

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

}  // namespace sparsenet::rt

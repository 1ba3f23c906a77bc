// How a plan that trains on a device is divided: where its phases begin and what stays in the arena between its steps.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace sparsenet::rt {

enum StoredRegion : int32_t {
  kStoredParameters = 0,
  kStoredGradients,  // of the last image
  kStoredGradientSum,
  kStoredMomentum,
  kStoredControl,  // Control
  kStoredRegions
};

struct ArenaRange {
  size_t offset, bytes;
};

// Phases begin at these steps: loss and gradients of one image; their sum; its norm; the update. What comes before
// computes the outputs.
struct TrainingLayout {
  int32_t loss, accumulate, norm, update;
  int32_t classes;
  ArenaRange regions[kStoredRegions];
};

}  // namespace sparsenet::rt

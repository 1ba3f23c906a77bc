// How a plan that trains on a device is divided: where its phases begin, and what stays in the arena between training
// steps.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace sparsenet::rt {

enum StoredRegion : int32_t {
  kStoredParameters = 0,
  kStoredGradients,  // of the last image
  kStoredGradientSum,
  kStoredMomentum,
  kStoredControl,  // floats, indexed by Control (step.h)
  kStoredRegions
};

struct ArenaRange {
  size_t offset, bytes;
};

// The indices of the steps at which the phases begin: loss and gradients of one image; adding these gradients to a sum;
// the norm of the sum; the update. The steps before them compute the outputs.
struct TrainingLayout {
  int32_t loss, accumulate, norm, update;
  int32_t classes;
  ArenaRange regions[kStoredRegions];
};

}  // namespace sparsenet::rt

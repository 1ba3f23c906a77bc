// Slices: the images of a batch that a session computes at once. Activations of few images stay in the caches, and the
// arena is as small as theirs; weights are read once per slice.
#pragma once

#include "plan/plan.h"

namespace sparsenet {

// How many images of a batch are best computed at once: a divisor of `batch`. `whole`: the plan for the batch. It does
// not depend on the number of threads, because the bits of a result may depend on it.
int64_t best_slice(const Graph& graph, const Plan& whole, int64_t batch);

// Null if every image is computed by itself and alike, so that a batch may be cut; else the name of the first node (or
// of an input or output) of which that cannot be told. `part`: the plan for `images` of the batch. Of steps over
// general shapes, only those are known whose first dimension is the batch.
const char* mixes_images(const Plan& whole, int64_t batch, const Plan& part, int64_t images);

}  // namespace sparsenet

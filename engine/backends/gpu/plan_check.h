// What a plan's structures must hold before anything is made of it.
#pragma once

#include <sparsenet/plugin.h>

#include "backends/gpu/device.h"

namespace sparsenet::gpu {

// Sizes of structures, pointers that must be there, counts, ranges of numbers that code divides by or indexes with, and
// that views lie within the arena and constants. Whether a step is supported is another matter: see Builder.
Outcome check_plan(const snp_plan* plan);

}  // namespace sparsenet::gpu

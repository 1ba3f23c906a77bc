// How convolutions are cut to fit the caches.
#pragma once

#include "kernels/portable/simd.h"
#include "runtime/caches.h"

namespace sparsenet::rt::SPARSENET_ISA {

// Floats of the pixels that are gathered before they are used: two thirds of the first-level cache.
SPARSENET_INLINE int64_t panel_floats() {
  return caches.first_level * 2 / 3 / static_cast<int64_t>(sizeof(float));
}

// The most vectors of outputs, of `blocks`, whose weights of `elements` inputs fit into half of the second-level cache,
// where they are read again and again: at least two, in even ranges.
SPARSENET_INLINE int blocks_in_cache(int64_t elements, int blocks) {
  const int64_t fit = caches.second_level / 2 / (elements * kLanes * 4);
  const int most = fit < 2 ? 2 : fit > blocks ? blocks : static_cast<int>(fit);
  return ceil_div(blocks, ceil_div(blocks, most));
}

}  // namespace sparsenet::rt::SPARSENET_ISA

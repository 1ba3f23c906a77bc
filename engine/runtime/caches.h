// Sizes of this machine's caches, which decide how kernels cut their work.
#pragma once

#include <stdint.h>

namespace sparsenet::rt {

// In bytes, of one core.
struct Caches {
  int64_t first_level, second_level;
};

// Set once, before the first kernel is asked for its needs: what a step needs and how it is cut depend on it.
extern Caches caches;

}  // namespace sparsenet::rt

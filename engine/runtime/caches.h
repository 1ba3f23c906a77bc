// Sizes of this machine's caches, which decide how kernels cut their work.
#pragma once

#include <stdint.h>

namespace sparsenet::rt {

struct Caches {
  int64_t second_level;  // bytes, of one core
};

// Set once, before the first kernel is asked for its needs: what a step needs and how it is cut depend on it.
extern Caches caches;

}  // namespace sparsenet::rt

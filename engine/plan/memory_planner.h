// Memory planner: takes buffers with a size and a lifetime, and gives each its offset in the arena. It knows nothing
// about ops.
//
// Algorithm. Placing buffers of fixed lifetimes in the smallest arena is NP-hard, so several greedy orders are tried
// (by size, by lifetime times size, by start, by lifetime) and the best result is kept. Each order places one buffer at
// a time at the lowest offset where no buffer that is already placed and alive at the same time is in the way (a second
// variant chooses the gap that fits best). If the result misses the lower bound, a few hundred seeded perturbations of
// the best order are tried. Deterministic: the same buffers give the same offsets. Limits: lifetimes are whole steps; a
// buffer never moves; the time is quadratic in the number of buffers, which is a few hundred.
#pragma once

#include <cstddef>
#include <vector>

namespace sparsenet {

constexpr size_t kArenaAlignment = 64;

struct PlannedBuffer {
  size_t bytes = 0;   // rounded up to kArenaAlignment by the planner
  int first = 0;      // first step that touches it
  int last = 0;       // last step that touches it, inclusive
  size_t offset = 0;  // the result
};

// Fills in the offsets and returns the arena's size.
size_t plan_memory(std::vector<PlannedBuffer>* buffers);

// The largest sum of the sizes of the buffers alive at one step: no plan can need less.
size_t memory_lower_bound(const std::vector<PlannedBuffer>& buffers);

}  // namespace sparsenet

// Whether this process is the child of a fork(), in which the threads of its parent are no more.
#pragma once

#include <cstdint>

namespace sparsenet {

// Begins to count; needed once before the first fork that shall be noticed. False where the system has no memory for
// it: then no threads may be started.
bool watch_forks();

// Another number in a child than in its parent.
uint32_t fork_generation();

}  // namespace sparsenet

// Detects that this process is the child of a fork(), in which the parent's threads no longer exist.
#pragma once

#include <cstdint>

namespace sparsenet {

// Begins to count forks; must be called before the first fork that is to be noticed. Returns false if the system has no
// memory for it: then no threads may be started.
bool watch_forks();

// A number that differs between a child and its parent.
uint32_t fork_generation();

}  // namespace sparsenet

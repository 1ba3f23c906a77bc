// The kernels that sn_prepare chooses from: those of the library (linked_kernels.cpp), or of a table that
// `sparsenet-convert --select-ops` wrote, which a program for one model links in their place.
#pragma once

#include "runtime/kernel.h"

namespace sparsenet::rt {

constexpr int32_t kMaxLinkedLists = 4;

// Fills `lists`, each terminated by null, fastest first; returns how many there are.
int32_t linked_kernels(const Kernel* const* lists[kMaxLinkedLists]);

}  // namespace sparsenet::rt

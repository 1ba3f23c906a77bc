// The kernels that sn_prepare chooses from: those of the library (linked_kernels.cpp; in libsparsenet_device.a
// device_kernels.cpp), or of a table that `sparsenet-convert --select-ops` wrote, which a program for one model links
// in their place. That table declares this function for itself (session/make_device_parts.cpp): it needs no header of
// ours.
#pragma once

#include "runtime/kernel.h"

namespace sparsenet::rt {

constexpr int32_t kMaxLinkedLists = 4;

// Fills `lists`, each terminated by null, fastest first; returns how many there are.
int32_t linked_kernels(const Kernel* const* lists[kMaxLinkedLists]);

// The same for SN_KERNELS_COMPACT. A file of its own in each library, so that a table in place of linked_kernels does
// not bring in what it leaves out.
int32_t compact_kernels(const Kernel* const* lists[kMaxLinkedLists]);

}  // namespace sparsenet::rt

// The kernels that sn_prepare chooses from. They are those of the library (session/linked_kernels.cpp, or
// device/kernels.cpp in libsparsenet_device.a), or those of a table written by `sparsenet-convert --select-ops`, which
// a program for one model links in their place. Such a table needs no header of ours: it declares linked_kernels() for
// itself (session/make_device_parts.cpp).
#pragma once

#include "runtime/kernel.h"

namespace sparsenet::rt {

constexpr int32_t kMaxLinkedLists = 6;

// Fills `lists`, each terminated by null, fastest first; returns how many there are.
int32_t linked_kernels(const Kernel* const* lists[kMaxLinkedLists]);

// The same for SN_KERNELS_COMPACT. In each library it is in a file of its own: where a table replaces linked_kernels(),
// the kernels that the table leaves out are not linked.
int32_t compact_kernels(const Kernel* const* lists[kMaxLinkedLists]);

}  // namespace sparsenet::rt

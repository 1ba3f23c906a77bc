// In libsparsenet_device.a: what is linked there is compact already.
#include "runtime/linked_kernels.h"

namespace sparsenet::rt {

int32_t compact_kernels(const Kernel* const* lists[kMaxLinkedLists]) {
  return linked_kernels(lists);
}

}  // namespace sparsenet::rt

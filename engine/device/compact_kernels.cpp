// compact_kernels() of libsparsenet_device.a: the kernels that are linked there are compact anyway.
#include "runtime/linked_kernels.h"

namespace sparsenet::rt {

int32_t compact_kernels(const Kernel* const* lists[kMaxLinkedLists]) {
  return linked_kernels(lists);
}

}  // namespace sparsenet::rt

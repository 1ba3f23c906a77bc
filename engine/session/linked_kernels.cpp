#include "runtime/linked_kernels.h"

#include "session/backend_table.h"

namespace sparsenet::rt {

static_assert(kMaxLinkedLists >= kMaxKernelLists);

int32_t linked_kernels(const Kernel* const* lists[kMaxLinkedLists]) {
  return find_backend(Backend::kPortable)->kernel_lists(lists);
}

}  // namespace sparsenet::rt

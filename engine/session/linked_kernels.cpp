#include "runtime/linked_kernels.h"

#include "kernels/compact/compact.h"
#include "kernels/isa.h"
#include "kernels/reference/integers.h"
#include "session/backend_table.h"

namespace sparsenet::rt {

static_assert(kMaxLinkedLists >= kMaxKernelLists + 3);

// The portable kernels take no float16 parameters, and sn_prepare makes no copies. Therefore the compact kernels for
// float16 are tried before the reference kernels, which also take such parameters.
int32_t linked_kernels(const Kernel* const* lists[kMaxLinkedLists]) {
  const int32_t count = find_backend(Backend::kPortable)->kernel_lists(lists);
  lists[count] = lists[count - 1];
  lists[count - 1] = compact::kHalfKernels;
  lists[count + 1] = integer_kernels();
  lists[count + 2] = kIntegerReferenceKernels;
  return count + 3;
}

}  // namespace sparsenet::rt

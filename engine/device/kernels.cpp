// linked_kernels() of libsparsenet_device.a: all kernels for devices, for programs that bring no table of their own.
#include "kernels/compact/compact.h"
#include "kernels/compact/integer.h"
#include "kernels/reference/integers.h"
#include "kernels/reference/reference.h"
#include "runtime/linked_kernels.h"

namespace sparsenet::rt {

int32_t linked_kernels(const Kernel* const* lists[kMaxLinkedLists]) {
  lists[0] = compact::kPortableKernels;
  lists[1] = kReferenceKernels;
  lists[2] = compact::kIntegerKernels;
  lists[3] = kIntegerReferenceKernels;
  return 4;
}

}  // namespace sparsenet::rt

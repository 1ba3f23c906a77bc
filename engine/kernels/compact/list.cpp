#include "kernels/compact/compact.h"

namespace sparsenet::rt::compact {

const Kernel* const kPortableKernels[] = {&kConv, &kPool, &kGlobalPool, &kAttention, &kAffine, nullptr};

}  // namespace sparsenet::rt::compact

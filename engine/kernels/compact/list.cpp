#include "kernels/compact/compact.h"

namespace sparsenet::rt::compact {

const Kernel* const kPortableKernels[] = {&kConv,          &kPool,       &kGlobalPool, &kAttention,
                                          &kAffine,        &kConvHalf,   &kPoolHalf,   &kGlobalPoolHalf,
                                          &kAttentionHalf, &kAffineHalf, nullptr};
const Kernel* const kHalfKernels[] = {&kConvHalf, &kPoolHalf, &kGlobalPoolHalf, &kAttentionHalf, &kAffineHalf, nullptr};

}  // namespace sparsenet::rt::compact

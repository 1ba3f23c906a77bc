#include "kernels/compact/compact.h"
#include "kernels/compact/integer.h"

namespace sparsenet::rt::compact {

const Kernel* const kPortableKernels[] = {&kConv,          &kPool,       &kGlobalPool, &kAttention,
                                          &kAffine,        &kConvHalf,   &kPoolHalf,   &kGlobalPoolHalf,
                                          &kAttentionHalf, &kAffineHalf, nullptr};
const Kernel* const kHalfKernels[] = {&kConvHalf, &kPoolHalf, &kGlobalPoolHalf, &kAttentionHalf, &kAffineHalf, nullptr};

const Kernel* const kIntegerKernels[] = {&kIntegerPixelSingle, &kIntegerPixelDouble,
                                         &kIntegerConvSingle,  &kIntegerConvDouble,
                                         &kIntegerDepthwise,   &kIntegerMaxPool,
                                         &kIntegerAveragePool, &kIntegerGlobalPool,
                                         &kIntegerAdd,         &kIntegerMul,
                                         &kIntegerAffine,      &kIntegerGate,
                                         &kIntegerTable,       nullptr};

}  // namespace sparsenet::rt::compact

// The portable kernels in the order in which they are tried. The plain reference kernels come after them.
#include "kernels/portable/portable.h"

namespace sparsenet::rt::SPARSENET_ISA {

const Kernel* const kPortableKernels[] = {
    &kConvRows,      &kConvPointwise,     &kConvWinograd4,  &kConvWinograd2,  &kConvDepthwise,  &kConvGrouped,
    &kConvBlocked,   &kConvDirect,        &kPool,           &kGlobalPool,     &kAttention,      &kAffine,
    &kBinary,        &kStrided,           &kSoftmax,        &kLayerNorm,      &kMatMul,         &kBatchStats,
    &kNormalizeGrad, &kConvNormalizeGrad, &kBatchStatsGrad, &kConvGradWeight, &kDotPixels,      &kScalePixels,
    &kExpandPixels,  &kAveragePoolGrad,   &kFill,           &kAccumulate,     &kActivationGrad, &kUpdateSgd,
    &kUpdateAdam,    &kFakeQuantize,      &kRoundWeight,    nullptr,
};

// To be tried before the others where speed counts for more than memory.
const Kernel* const kLargeWeightKernels[] = {&kConvWinograd4Large, &kConvWinograd2Large, nullptr};

}  // namespace sparsenet::rt::SPARSENET_ISA

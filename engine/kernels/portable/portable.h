// The portable kernels of one instruction set. `kPortableKernels` (list.cpp) is their ordered list.
#pragma once

#include "kernels/portable/simd.h"
#include "runtime/kernel.h"

namespace sparsenet::rt::SPARSENET_ISA {

extern const Kernel kConvRows;
extern const Kernel kConvPointwise;
extern const Kernel kConvWinograd4;
extern const Kernel kConvWinograd2;
extern const Kernel kConvWinograd4Large;
extern const Kernel kConvWinograd2Large;
extern const Kernel kConvBlocked;
extern const Kernel kConvGrouped;
extern const Kernel kConvDirect;
extern const Kernel kConvDepthwise;
extern const Kernel kPool;
extern const Kernel kGlobalPool;
extern const Kernel kAffine;
extern const Kernel kBinary;
extern const Kernel kAttention;
extern const Kernel kStrided;
extern const Kernel kSoftmax;
extern const Kernel kLayerNorm;
extern const Kernel kMatMul;

// Training.
extern const Kernel kBatchStats;
extern const Kernel kNormalizeGrad;
extern const Kernel kConvNormalizeGrad;
extern const Kernel kBatchStatsGrad;
extern const Kernel kConvGradWeight;
extern const Kernel kDotPixels;
extern const Kernel kScalePixels;
extern const Kernel kExpandPixels;
extern const Kernel kAveragePoolGrad;
extern const Kernel kFill;
extern const Kernel kAccumulate;
extern const Kernel kActivationGrad;
extern const Kernel kUpdateSgd;
extern const Kernel kUpdateAdam;
extern const Kernel kFakeQuantize;
extern const Kernel kRoundWeight;

// In list.cpp; terminated by null.
extern const Kernel* const kPortableKernels[];
extern const Kernel* const kLargeWeightKernels[];

}  // namespace sparsenet::rt::SPARSENET_ISA

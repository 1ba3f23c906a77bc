// Plain reference kernels: one for every kind of step, written to be read. They define what a step means; every faster
// kernel is tested against them, and every kernel list ends in them.
#pragma once

#include "runtime/kernel.h"

namespace sparsenet::rt {

extern const Kernel kReferenceConv;
extern const Kernel kReferencePool;
extern const Kernel kReferenceGlobalPool;
extern const Kernel kReferenceAffine;
extern const Kernel kReferenceAttention;
extern const Kernel kReferenceBinary;
extern const Kernel kReferenceSoftmax;
extern const Kernel kReferenceReduceMean;
extern const Kernel kReferenceStridedCopy;
extern const Kernel kReferenceChoice;  // Max, Min, Prelu
extern const Kernel kReferenceMatMul;
extern const Kernel kReferenceLayerNorm;

// Training (train_layers.cpp, train_pointwise.cpp).
extern const Kernel kReferenceBatchStats;
extern const Kernel kReferenceFoldStats;
extern const Kernel kReferenceUpdateRunning;
extern const Kernel kReferenceNormalizeGrad;
extern const Kernel kReferenceFoldStatsGrad;
extern const Kernel kReferenceBatchStatsGrad;
extern const Kernel kReferenceConvGradWeight;
extern const Kernel kReferenceConvGradInput;
extern const Kernel kReferenceActivationGrad;
extern const Kernel kReferenceMaxPoolGrad;
extern const Kernel kReferenceAveragePoolGrad;
extern const Kernel kReferenceSoftmaxGrad;
extern const Kernel kReferenceReduceSum;
extern const Kernel kReferenceExpand;
extern const Kernel kReferenceExpandPixels;
extern const Kernel kReferenceDotPixels;
extern const Kernel kReferenceScalePixels;
extern const Kernel kReferenceFill;
extern const Kernel kReferenceAccumulate;
extern const Kernel kReferenceCrossEntropy;
extern const Kernel kReferenceSquareSum;
extern const Kernel kReferenceUpdateSgd;
extern const Kernel kReferenceUpdateAdam;

// In general.cpp; terminated by null.
extern const Kernel* const kReferenceKernels[];

}  // namespace sparsenet::rt

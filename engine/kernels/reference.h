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

// In reference_general.cpp; terminated by null.
extern const Kernel* const kReferenceKernels[];

}  // namespace sparsenet::rt

// Plain kernels of the steps with which training simulates integers. They are on hosts only.
#pragma once

#include "runtime/kernel.h"

namespace sparsenet::rt {

extern const Kernel* const kRoundingReferenceKernels[];  // terminated by null

}  // namespace sparsenet::rt

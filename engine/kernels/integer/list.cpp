// The fast kernels of int8 in the order in which they are tried. The plain ones (kernels/reference/integers.cpp) come
// after them.
#include "kernels/integer/integer.h"

namespace sparsenet::rt::SPARSENET_ISA {

#if defined(__AMX_INT8__)

// To be tried before those of the instruction set without tiles.
extern const Kernel* const kIntegerTileKernels[];
const Kernel* const kIntegerTileKernels[] = {&kIntegerConv, nullptr};

#else

extern const Kernel* const kIntegerKernels[];
const Kernel* const kIntegerKernels[] = {
#if defined(SPARSENET_PAIRS)
    &kIntegerWinograd,
#endif
    &kIntegerConv,
#if defined(__AVX2__)
    &kIntegerDepthwiseLines,
#endif
    &kIntegerDepthwisePanel, &kIntegerDepthwise,
    &kIntegerPool,           &kIntegerGlobalPool,
    &kIntegerBinary,         &kIntegerGate,
    &kIntegerTable,          &kIntegerQuantize,
    &kIntegerRequantize,     &kIntegerRequantizeUnsigned,
    &kIntegerDequantize,     &kIntegerGather,
    &kIntegerStrided,        nullptr,
};

#endif

}  // namespace sparsenet::rt::SPARSENET_ISA

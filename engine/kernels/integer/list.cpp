// The fast kernels of int8 in the order in which they are tried. The plain ones (kernels/reference/integers.cpp) come
// after them.
#include "kernels/integer/integer.h"

namespace sparsenet::rt::SPARSENET_ISA {

extern const Kernel* const kIntegerKernels[];
const Kernel* const kIntegerKernels[] = {
#if defined(SPARSENET_PAIRS)
    &kIntegerWinograd,
#endif
    &kIntegerConv,
#if !defined(__AVX512F__)
    &kIntegerDepthwisePanel,
#endif
    &kIntegerDepthwise,
    &kIntegerPool,
    &kIntegerGlobalPool,
    &kIntegerBinary,
    &kIntegerGate,
    &kIntegerTable,
    &kIntegerQuantize,
    &kIntegerRequantize,
    &kIntegerRequantizeUnsigned,
    &kIntegerDequantize,
    &kIntegerGather,
    &kIntegerStrided,
    nullptr,
};

}  // namespace sparsenet::rt::SPARSENET_ISA

// Steps whose operands have one size, in any channel ranges.
#pragma once

#include "backends/gpu/builder.h"

namespace sparsenet::gpu {

// act(affine(in) op in2); `op`: an snp_binary_op, or -1 if there is no in2.
const char* lower_elements(const snp_step& step, int op, Builder& builder);

}  // namespace sparsenet::gpu

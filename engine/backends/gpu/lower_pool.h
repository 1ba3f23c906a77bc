// Means over the pixels of an image, for pooling and for attention.
#pragma once

#include "backends/gpu/builder.h"
#include "backends/gpu/kernels/pool_params.h"

namespace sparsenet::gpu {

// Launches global_pool over all of `in`. The caller has set the output, the affine and the activation.
void launch_global_pool(const snp_view& in, int count, GlobalPoolParams params, Builder& builder);

}  // namespace sparsenet::gpu

#include "backends/onednn/onednn_backend.h"

namespace sparsenet::rt {

const Kernel* const kOneDnnKernels[] = {&onednn::kConvolution, &onednn::kPooling, nullptr};

}  // namespace sparsenet::rt

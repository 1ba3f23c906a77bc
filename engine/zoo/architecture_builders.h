// The builders behind build_graph(), one a family. They take what check_architecture() accepted.
#pragma once

#include <sparsenet/architecture.h>

namespace sparsenet {

// Ranges and what must agree, for architectures that were filled in by hand as for parsed ones.
Status check_architecture(const Architecture& arch);

int image_size(const Architecture& arch);  // with the stem's default filled in

Result<Graph> build_sparsenet(const Architecture& arch, uint64_t seed);  // DenseNet too: no group is ever dropped
Result<Graph> build_resnet(const Architecture& arch, uint64_t seed);

}  // namespace sparsenet

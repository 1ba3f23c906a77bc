// The builders behind build_graph(). They expect an architecture that check_architecture() has accepted.
#pragma once

#include <sparsenet/architecture.h>

namespace sparsenet {

// Checks that all members are in range and agree with each other, also in architectures that were filled in by hand.
Status check_architecture(const Architecture& arch);

int image_size(const Architecture& arch);  // arch.image_size, or the stem's default if that is 0

Result<Graph> build_sparsenet(const Architecture& arch, uint64_t seed);  // also DenseNets: no group is dropped
Result<Graph> build_resnet(const Architecture& arch, uint64_t seed);

}  // namespace sparsenet

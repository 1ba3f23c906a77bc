// Channel equalisation: channels of one value are brought to the same range where whatever reads them can undo it for
// free, so that one scale suits all of them.
#pragma once

#include <sparsenet/quantize.h>

namespace sparsenet {

// Multiplies the channels of values that convolutions make, and that only affines read in the end (also through
// concatenations, pooling, sums and gates), by positive factors, and divides the affines' scales by them. The network
// computes the same. `largest` has, by ValueId, the largest magnitude of each channel.
Status equalize_channels(Graph* graph, const std::vector<std::vector<float>>& largest);

}  // namespace sparsenet

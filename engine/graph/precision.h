// Which parameters float16 can hold.
#pragma once

#include <sparsenet/graph.h>

#include <vector>

namespace sparsenet {

// By value: weights and scales all of whose elements are below 2^-14, float16's smallest normal number, so that few of
// their digits would be left; and what is added behind such a product. (Small biases beside larger weights lose nothing
// that counts.)
std::vector<bool> too_small_for_float16(const Graph& graph);

}  // namespace sparsenet

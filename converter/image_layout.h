// Rewrites of what an imported graph does with its images at first; see image_input.h.
#pragma once

#include <sparsenet/graph.h>

namespace sparsenet::converter {

// Each returns whether it has changed the graph, which then has been checked. Nodes that nothing reads any more are
// left to the caller.
bool make_channels_first(Graph* graph, ValueId input);
bool fold_picked_channels(Graph* graph, ValueId input);

// The other operand of an Add, Sub, Mul or Div of `x`, if it is a constant with one number for all or one for each of
// the channels of x, [N, C, H, W]; else kNoValue.
ValueId channel_operand(const Graph& graph, const Node& node, ValueId x);
// Its number for a channel.
float channel_number(const Value& constant, size_t channel);

}  // namespace sparsenet::converter

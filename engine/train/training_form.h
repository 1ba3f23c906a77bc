// Brings the forward graph into the form that training differentiates.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <vector>

namespace sparsenet {

// Rewrites `graph` so that every node has a gradient rule or needs none: a Softmax at the end is removed; activations
// and residuals that importers fused become nodes of their own; h + h f becomes h (1 + f), and a product with one
// factor per channel and image becomes ScalePixels; average pooling moves in front of 1x1 convolutions; the passes of
// inference run on what depends on no trained parameter. Value ids keep their meaning.
Status to_training_form(Graph* graph, const std::vector<bool>& trained);

// By value: whether it depends on a trained parameter (the parameters themselves included).
std::vector<bool> active_values(const Graph& graph, const std::vector<bool>& trained);

}  // namespace sparsenet

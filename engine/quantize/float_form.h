// The form of a network that is quantised: what the passes make of it, as far as it has one value for every thing that
// integers need a scale for.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

namespace sparsenet {

// Runs the passes, takes residuals and activations that integers do not have as part of a layer out of it, and leaves
// everything else as nodes of its own (attention, too).
Status make_float_form(Graph* graph);

}  // namespace sparsenet

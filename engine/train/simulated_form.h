// The form in which a network that computes with integers is trained.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <vector>

namespace sparsenet {

// Makes copies of biases that several layers share: what an integer of one stands for depends on the layer.
void separate_biases(Graph* graph);

// Rewrites every node that depends on a trained parameter and computes with integers as nodes of float32, whose results
// are rounded to the numbers that the integers stand for (TrainOp::kFakeQuantize). Weights and biases of such layers
// become real numbers; a trained weight is rounded before it is used, with the scale that its largest magnitude gives
// (TrainOp::kRoundWeight). Value ids keep their meaning. Nodes that depend on no trained parameter stay as they are,
// and a Dequantize stands behind them. `trained`: by value. kUnsupported names a node whose rounding cannot be
// simulated.
Status simulate_integers(Graph* graph, const std::vector<bool>& trained);

// By value: the unit in which a trained weight of such a graph is kept; 1 for everything else.
std::vector<float> weight_units(const Graph& simulated);

// The opposite: `source`, of which simulate_integers() has made `simulated`, with the integers nearest to the
// parameters that `simulated` has now. Its other constants are those of `simulated`, which are not copied. Errors:
// kNotFinite names a parameter with values that are not finite; kUnsupported a bias that no 32-bit integer stands for.
Result<Graph> integers_of(const Graph& source, const Graph& simulated);

}  // namespace sparsenet

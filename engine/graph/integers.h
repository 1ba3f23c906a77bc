// Which nodes compute with integers, and whether they may.
#pragma once

#include <sparsenet/graph.h>

namespace sparsenet {

// Whether the node reads or makes a value of an integer type (its constants aside).
bool has_integers(const Graph& graph, const Node& node);
bool has_integers(const Graph& graph);

// Checks the types and quantisations of all nodes of a graph whose shapes are inferred: kUnsupported, with the node,
// what was expected and what was found, for everything that is not as Quantization (sparsenet/graph.h) says, and for
// every other type.
Status check_types(const Graph& graph);

}  // namespace sparsenet

// Graphs as text for failure messages: enough to rebuild the case by hand.
#pragma once

#include <sparsenet/graph.h>

#include <string>

namespace sparsenet::test {

// One line per node: op, name, input names with shapes, attributes that differ from the defaults, output shapes.
std::string describe_node(const Graph& graph, const Node& node);
std::string describe_graph(const Graph& graph);

}  // namespace sparsenet::test

// Helpers that passes share: which nodes make and use a value, and edits of the node list.
#pragma once

#include <sparsenet/graph.h>

#include <string>
#include <vector>

namespace sparsenet {

// Which nodes make and use each value, as of the object's construction: a pass that edits the graph meanwhile may rely
// on it only for nodes that it has not touched.
class Uses {
 public:
  explicit Uses(const Graph& graph);

  // Index of the node that makes the value, or -1 (inputs, constants).
  int producer(ValueId id) const { return producer_[static_cast<size_t>(id)]; }
  // How many times nodes read the value; being a graph output counts as one more.
  int count(ValueId id) const { return count_[static_cast<size_t>(id)]; }
  // Index of the only node that reads the value; -1 if there is not exactly one use or if it is a graph output.
  int only_user(ValueId id) const;

 private:
  std::vector<int> producer_, count_, user_;
  std::vector<bool> is_output_;
};

// The value's float32 constant data, or null.
const float* constant_f32(const Graph& graph, ValueId id);

// Add a constant, or a value that a node computes. The id is appended to its name, a cheap way to make it unique.
ValueId add_pass_constant(Graph* graph, const std::string& base, Shape shape, std::vector<float> values);
ValueId add_pass_value(Graph* graph, const std::string& base, Shape shape);

// All uses of `from` become uses of `to`.
void replace_uses(Graph* graph, ValueId from, ValueId to);

// Removes nodes[i] where removed[i].
void erase_nodes(Graph* graph, const std::vector<bool>& removed);

inline Node& node_at(Graph* graph, int index) {
  return graph->nodes[static_cast<size_t>(index)];
}

}  // namespace sparsenet

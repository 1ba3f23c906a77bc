// What passes share: who makes and who uses a value, and edits of the node list.
#pragma once

#include <sparsenet/graph.h>

#include <string>
#include <vector>

namespace sparsenet {

// Makers and users of all values at the time it was made; a pass that edits as it goes keeps to nodes it has not
// touched.
class Uses {
 public:
  explicit Uses(const Graph& graph);

  // Index of the node that makes the value, or -1 (inputs, constants).
  int producer(ValueId id) const { return producer_[static_cast<size_t>(id)]; }
  // How often nodes read it, a graph output counts as one more.
  int count(ValueId id) const { return count_[static_cast<size_t>(id)]; }
  // Index of the only node that reads it; -1 if there is not exactly one use or if it is a graph output.
  int only_user(ValueId id) const;

 private:
  std::vector<int> producer_, count_, user_;
  std::vector<bool> is_output_;
};

// The value's float32 constant data, or null.
const float* constant_f32(const Graph& graph, ValueId id);

// A new constant; the name is made unique from the id, which is cheap.
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

#include "passes/rewrite.h"

#include <utility>

namespace sparsenet {

Uses::Uses(const Graph& graph)
    : producer_(graph.values.size(), -1),
      count_(graph.values.size(), 0),
      user_(graph.values.size(), -1),
      is_output_(graph.values.size(), false) {
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (ValueId id : graph.nodes[i].outputs) producer_[static_cast<size_t>(id)] = static_cast<int>(i);
    for (ValueId id : graph.nodes[i].inputs) {
      if (id == kNoValue) continue;
      ++count_[static_cast<size_t>(id)];
      user_[static_cast<size_t>(id)] = static_cast<int>(i);
    }
  }
  for (ValueId id : graph.outputs) {
    ++count_[static_cast<size_t>(id)];
    is_output_[static_cast<size_t>(id)] = true;
  }
}

int Uses::only_user(ValueId id) const {
  const auto i = static_cast<size_t>(id);
  return count_[i] == 1 && !is_output_[i] ? user_[i] : -1;
}

const float* constant_f32(const Graph& graph, ValueId id) {
  if (id == kNoValue) return nullptr;
  const Value& value = graph.value(id);
  return value.is_constant && value.type == DataType::kFloat32 ? value.constant.f32() : nullptr;
}

ValueId add_pass_constant(Graph* graph, const std::string& base, Shape shape, std::vector<float> values) {
  const std::string name = base + "#" + std::to_string(graph->values.size());
  return graph->add_constant(name, Tensor::from(std::move(shape), std::move(values)));
}

ValueId add_pass_value(Graph* graph, const std::string& base, Shape shape) {
  const auto id = static_cast<ValueId>(graph->values.size());
  Value value;
  value.name = base + "#" + std::to_string(id);
  value.shape = std::move(shape);
  graph->values.push_back(std::move(value));
  return id;
}

void replace_uses(Graph* graph, ValueId from, ValueId to) {
  for (Node& node : graph->nodes) {
    for (ValueId& id : node.inputs) {
      if (id == from) id = to;
    }
  }
  for (ValueId& id : graph->outputs) {
    if (id == from) id = to;
  }
}

void erase_nodes(Graph* graph, const std::vector<bool>& removed) {
  size_t kept = 0;
  for (size_t i = 0; i < graph->nodes.size(); ++i) {
    if (i < removed.size() && removed[i]) continue;
    if (kept != i) graph->nodes[kept] = std::move(graph->nodes[i]);
    ++kept;
  }
  graph->nodes.resize(kept);
}

}  // namespace sparsenet

#include "converter/graph_writer.h"

#include <algorithm>
#include <cmath>

#include "converter/activation_patterns.h"
#include "converter/report.h"

namespace sparsenet::converter {

std::string GraphWriter::unique(const std::string& base) {
  const std::string stem = base.empty() ? "value" : base;
  if (names_.insert(stem).second) return stem;
  // Counting continues from the last number used; otherwise many values of one name would take quadratic time.
  for (int& i = next_[stem];;) {
    std::string name = stem + "." + std::to_string(++i);
    if (names_.insert(name).second) return name;
  }
}

Result<std::vector<ValueId>> GraphWriter::node_multi(Op op, const std::string& name, std::vector<ValueId> inputs,
                                                     Attrs attrs, const std::vector<std::string>& output_names) {
  std::vector<std::string> unique_names;
  for (const std::string& output_name : output_names)
    unique_names.push_back(unique(output_name.empty() ? name : output_name));
  std::vector<ValueId> outputs = graph.add_node_multi(op, name, std::move(inputs), std::move(attrs), unique_names);
  note(graph.nodes.back(), graph.nodes.size() - 1);
  if (!shape(outputs[0]).empty()) return outputs;
  // Only checking a graph gives the reason, so make one with this node alone.
  Graph probe;
  Node node = graph.nodes.back();
  for (ValueId& id : node.inputs) {
    if (id == kNoValue) continue;
    const Value& value = graph.value(id);
    const std::string probe_name = "in" + std::to_string(probe.values.size());
    id = value.is_constant ? probe.add_constant(probe_name, value.constant) : probe.add_input(probe_name, value.shape);
  }
  for (ValueId& id : node.outputs) {
    id = static_cast<ValueId>(probe.values.size());
    Value value;
    value.name = "out" + std::to_string(id);
    probe.values.push_back(std::move(value));
  }
  probe.outputs = node.outputs;
  probe.nodes.push_back(std::move(node));
  const Status why = probe.infer_shapes();
  return why.ok() ? internal_error("shapes cannot be inferred") : why;
}

Result<ValueId> GraphWriter::node(Op op, const std::string& name, std::vector<ValueId> inputs, Attrs attrs,
                                  const std::string& output_name) {
  SPARSENET_ASSIGN_OR_RETURN(std::vector<ValueId> outputs,
                             node_multi(op, name, std::move(inputs), std::move(attrs), {output_name}));
  return outputs[0];
}

namespace {

// Where a Reshape puts the batch, which is dimension `axis` of `from`: in front, where it may also become a multiple of
// the batch; elsewhere at the dimension of the same size with as many elements before it. -1 if it cannot be told.
int32_t reshaped_batch(const Shape& from, int32_t axis, const Shape& target) {
  if (axis <= 0 || static_cast<size_t>(axis) >= from.size()) return axis;
  const auto at = static_cast<size_t>(axis);
  int64_t before = 1, passed = 1;
  for (size_t d = 0; d < at; ++d) before *= from[d];
  for (size_t d = 0; d < target.size(); ++d) {
    if (passed == before && target[d] == from[at]) return static_cast<int32_t>(d);
    passed *= target[d];
  }
  return -1;
}

}  // namespace

Result<ValueId> GraphWriter::reshape(const std::string& name, ValueId x, const Shape& target,
                                     const std::string& output_name) {
  const Shape& from = shape(x);
  if (from == target) return x;
  if (element_count(from) != element_count(target) || element_count(from) <= 0) {
    return invalid_model("reshape of " + to_string(from) + " to " + to_string(target));
  }
  if (target.empty()) return unsupported("reshape of " + to_string(from) + " to a scalar");
  if (const Node* before = maker(x); before && before->op == Op::kReshape && shape(before->inputs[0]) == target) {
    return before->inputs[0];
  }
  ReshapeAttrs attrs;
  attrs.dims = target;
  const int32_t axis = reshaped_batch(from, batch_axis(x), target);
  if (axis >= 0)
    attrs.dims[static_cast<size_t>(axis)] = axis == 0 && target[0] == from[0] && batch_axis(x) == 0 ? 0 : -1;
  return node(Op::kReshape, name, {x}, std::move(attrs), output_name);
}

Result<ValueId> GraphWriter::transpose(const std::string& name, ValueId x, const std::vector<int32_t>& perm,
                                       const std::string& output_name) {
  if (std::is_sorted(perm.begin(), perm.end()) && perm.size() == shape(x).size()) return x;
  const auto rank = static_cast<int32_t>(perm.size());
  const bool in_range = std::all_of(perm.begin(), perm.end(), [rank](int32_t a) { return a >= 0 && a < rank; });
  if (const Node* before = maker(x);
      before && before->op == Op::kTranspose && in_range && perm.size() == shape(x).size()) {
    const auto& first = std::get<TransposeAttrs>(before->attrs).perm;
    std::vector<int32_t> both;
    for (const int32_t axis : perm) both.push_back(first[static_cast<size_t>(axis)]);
    const ValueId source = before->inputs[0];
    if (std::is_sorted(both.begin(), both.end())) return source;
    return node(Op::kTranspose, name, {source}, TransposeAttrs{std::move(both)}, output_name);
  }
  return node(Op::kTranspose, name, {x}, TransposeAttrs{perm}, output_name);
}

Result<ValueId> GraphWriter::pinned(const std::string& name, ValueId x) {
  ReshapeAttrs attrs;
  attrs.dims = shape(x);
  SPARSENET_ASSIGN_OR_RETURN(const ValueId fixed, node(Op::kReshape, name, {x}, std::move(attrs), name + ".batch"));
  batch_axes_[fixed] = -1;
  return fixed;
}

int32_t GraphWriter::batch_axis(ValueId id) const {
  if (graph.value(id).is_constant) return -1;
  const auto known = batch_axes_.find(id);
  return known == batch_axes_.end() ? 0 : known->second;
}

const Node* GraphWriter::maker(ValueId id) const {
  const auto known = makers_.find(id);
  return known == makers_.end() ? nullptr : &graph.nodes[known->second];
}

// Notes who makes the node's outputs, and which of their dimensions is the batch.
void GraphWriter::note(const Node& node, size_t index) {
  ValueId source = kNoValue;
  for (const ValueId id : node.inputs) {
    if (source == kNoValue && id != kNoValue && !graph.value(id).is_constant) source = id;
  }
  int32_t axis = source == kNoValue ? -1 : batch_axis(source);
  for (const ValueId output : node.outputs) {
    makers_[output] = index;
    const Shape &from = shape(source == kNoValue ? output : source), &to = shape(output);
    int32_t moved = axis;
    if (axis >= 0 && node.op == Op::kTranspose && !to.empty()) {
      const auto& perm = std::get<TransposeAttrs>(node.attrs).perm;
      moved = static_cast<int32_t>(std::find(perm.begin(), perm.end(), axis) - perm.begin());
    } else if (axis >= 0 && node.op == Op::kReshape) {
      moved = reshaped_batch(from, axis, to);
    } else if (const auto* reduced = std::get_if<ReduceAttrs>(&node.attrs);
               axis >= 0 && reduced && !reduced->keep_dims) {
      for (const int32_t gone : reduced->axes) moved -= gone < axis ? 1 : 0;
    } else if (axis > 0 && to.size() > from.size()) {  // broadcast
      moved += static_cast<int32_t>(to.size() - from.size());
    }
    if (moved != 0) batch_axes_[output] = moved;
  }
}

Status GraphWriter::output(ValueId id, const std::string& name) {
  Value& value = graph.value(id);
  if (value.is_constant) return unsupported("graph output '" + printable(name) + "' is a constant");
  if (!ports_.insert(id).second) {
    SPARSENET_ASSIGN_OR_RETURN(ValueId copy, node(Op::kIdentity, name, {id}, NoAttrs{}, name));
    graph.outputs.push_back(copy);
    return {};
  }
  if (value.name != name) value.name = unique(name);
  graph.outputs.push_back(id);
  return {};
}

namespace {

// Whether a constant of this shape adds one number per channel to an activation of that rank: [C], [1, C], [C, 1, 1],
// ...
bool is_per_channel(const Shape& shape, size_t rank, int64_t channels) {
  const size_t from_end = rank - 2;  // dimensions after the channels
  if (shape.size() < from_end + 1 || shape.size() > rank) return false;
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t expected = i == shape.size() - 1 - from_end ? channels : 1;
    if (shape[i] != expected) return false;
  }
  return true;
}

void fold_added_biases(Graph* graph) {
  const std::vector<std::vector<size_t>> readers = find_readers(*graph);
  std::vector<bool> removed(graph->nodes.size(), false);
  for (Node& node : graph->nodes) {
    const bool has_bias = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
    if ((node.op != Op::kConv && node.op != Op::kFullyConnected) || has_bias) continue;
    const ValueId y = node.outputs[0];
    const std::vector<size_t>& use = readers[static_cast<size_t>(y)];
    if (use.size() != 1 || use[0] == SIZE_MAX) continue;
    const Node& add = graph->nodes[use[0]];
    if (add.op != Op::kAdd) continue;
    const ValueId other = add.inputs[0] == y ? add.inputs[1] : add.inputs[0];
    const Value& bias = graph->value(other);
    const Shape& shape = graph->shape(y);
    if (!bias.is_constant || bias.type != DataType::kFloat32 || !is_per_channel(bias.shape, shape.size(), shape[1]))
      continue;
    if (readers[static_cast<size_t>(other)].size() != 1) continue;  // its shape must stay for the others
    Value& target = graph->value(other);
    target.shape = target.constant.shape = {shape[1]};
    node.inputs.resize(3, kNoValue);
    node.inputs[2] = other;
    node.outputs[0] = add.outputs[0];
    removed[use[0]] = true;
  }
  std::vector<Node> kept;
  for (size_t n = 0; n < graph->nodes.size(); ++n) {
    if (!removed[n]) kept.push_back(std::move(graph->nodes[n]));
  }
  graph->nodes = std::move(kept);
}

}  // namespace

std::vector<std::vector<size_t>> find_readers(const Graph& graph) {
  std::vector<std::vector<size_t>> readers(graph.values.size());
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    for (ValueId id : graph.nodes[n].inputs) {
      if (id != kNoValue) readers[static_cast<size_t>(id)].push_back(n);
    }
  }
  for (ValueId id : graph.outputs) readers[static_cast<size_t>(id)].push_back(SIZE_MAX);
  return readers;
}

void remove_unused(Graph* graph) {
  std::vector<bool> wanted(graph->values.size(), false);
  for (ValueId id : graph->outputs) wanted[static_cast<size_t>(id)] = true;
  for (ValueId id : graph->inputs) wanted[static_cast<size_t>(id)] = true;
  std::vector<Node> kept;
  for (size_t n = graph->nodes.size(); n-- > 0;) {
    Node& node = graph->nodes[n];
    const bool used = std::any_of(node.outputs.begin(), node.outputs.end(),
                                  [&](ValueId id) { return wanted[static_cast<size_t>(id)]; });
    if (!used) continue;
    for (ValueId id : node.inputs) {
      if (id != kNoValue) wanted[static_cast<size_t>(id)] = true;
    }
    for (ValueId id : node.outputs) wanted[static_cast<size_t>(id)] = true;
    kept.push_back(std::move(node));
  }
  std::reverse(kept.begin(), kept.end());
  graph->nodes = std::move(kept);
  std::vector<ValueId> renumbered(graph->values.size(), kNoValue);
  std::vector<Value> values;
  for (size_t i = 0; i < graph->values.size(); ++i) {
    if (!wanted[i]) continue;
    renumbered[i] = static_cast<ValueId>(values.size());
    values.push_back(std::move(graph->values[i]));
  }
  graph->values = std::move(values);
  auto renumber = [&](std::vector<ValueId>& ids) {
    for (ValueId& id : ids) id = id == kNoValue ? kNoValue : renumbered[static_cast<size_t>(id)];
  };
  for (Node& node : graph->nodes) {
    renumber(node.inputs);
    renumber(node.outputs);
  }
  renumber(graph->inputs);
  renumber(graph->outputs);
}

Status finish_graph(Graph* graph) {
  remove_unused(graph);  // else they would count as readers
  recognise_activations(graph);
  fold_added_biases(graph);
  remove_unused(graph);
  return graph->infer_shapes();
}

int64_t flush_denormals(Graph* graph, std::string* first) {
  int64_t total = 0;
  for (Value& value : graph->values) {
    if (!value.is_constant || value.type != DataType::kFloat32) continue;
    const float* data = value.constant.f32();
    const int64_t size = value.constant.elements();
    const auto is_denormal = [](float x) { return std::fpclassify(x) == FP_SUBNORMAL; };
    const int64_t count = std::count_if(data, data + size, is_denormal);
    if (count == 0) continue;
    std::vector<float> values(data, data + size);
    for (float& x : values) x = is_denormal(x) ? std::copysign(0.f, x) : x;
    value.constant = Tensor::from(value.shape, std::move(values));
    if (total == 0) *first = value.name;
    total += count;
  }
  return total;
}

}  // namespace sparsenet::converter

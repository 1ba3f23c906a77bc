// The passes move_activations, convert_pixel_fc and merge_reshapes: what is between layers that exporters wrote over
// arrays of other ranks than ours, [N, H, W, C] or [N, tokens, C].
#include <utility>

#include "graph/activations.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace sparsenet {
namespace {

// Whether an activation behind the node becomes part of it (fuse_activation).
bool takes_activation(const Node& node) {
  switch (node.op) {
    case Op::kConv:
      return std::get<ConvAttrs>(node.attrs).activation.kind == Activation::Kind::kNone;
    case Op::kFullyConnected:
      return std::get<FullyConnectedAttrs>(node.attrs).activation.kind == Activation::Kind::kNone;
    case Op::kAffine:
      return std::get<AffineAttrs>(node.attrs).activation.kind == Activation::Kind::kNone;
    default:
      return false;
  }
}

// The dimensions of one Reshape that does what two in a row do, for every batch. Empty: none is known.
std::vector<int64_t> both(const std::vector<int64_t>& first, const std::vector<int64_t>& second) {
  std::vector<int64_t> dims = second;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] != 0) continue;
    if (d >= first.size() || first[d] == -1) return {};
    dims[d] = first[d];  // a size, or 0 again
  }
  return dims;
}

}  // namespace

Status move_activations(Graph* graph) {
  const Uses uses(*graph);
  for (size_t i = 0; i < graph->nodes.size(); ++i) {
    Activation activation;
    if (!is_activation(graph->nodes[i], &activation)) continue;
    const ValueId reshaped = graph->nodes[i].inputs[0];
    const int middle = uses.producer(reshaped);
    if (middle < 0 || uses.only_user(reshaped) != static_cast<int>(i)) continue;
    if (node_at(graph, middle).op != Op::kReshape && node_at(graph, middle).op != Op::kTranspose) continue;
    const ValueId result = node_at(graph, middle).inputs[0];
    const int layer = uses.producer(result);
    if (layer < 0 || uses.only_user(result) != middle || !takes_activation(node_at(graph, layer))) continue;
    // Each takes the other's place and keeps its own name; the value between them has the layer's shape then.
    Node move = node_at(graph, middle), function = graph->nodes[i];
    function.inputs[0] = result;
    std::swap(move.outputs, function.outputs);
    move.inputs[0] = reshaped;
    graph->values[static_cast<size_t>(reshaped)].shape = graph->shape(result);
    node_at(graph, middle) = std::move(function);
    graph->nodes[i] = std::move(move);
  }
  return {};
}

Status convert_pixel_fc(Graph* graph) {
  const Uses uses(*graph);
  // The node that makes the value, if it is of that kind; and, of a Transpose, exchanges dimensions like that.
  const auto maker = [&](ValueId id, Op op, const std::vector<int32_t>& perm) -> const Node* {
    const int index = uses.producer(id);
    if (index < 0 || node_at(graph, index).op != op) return nullptr;
    const Node& node = node_at(graph, index);
    return op != Op::kTranspose || std::get<TransposeAttrs>(node.attrs).perm == perm ? &node : nullptr;
  };
  for (Node& back : graph->nodes) {
    if (back.op != Op::kTranspose || std::get<TransposeAttrs>(back.attrs).perm != std::vector<int32_t>{0, 3, 1, 2})
      continue;
    const Node* unflatten = maker(back.inputs[0], Op::kReshape, {});
    const Node* fc = unflatten ? maker(unflatten->inputs[0], Op::kFullyConnected, {}) : nullptr;
    const Node* flatten = fc ? maker(fc->inputs[0], Op::kReshape, {}) : nullptr;
    const Node* forth = flatten ? maker(flatten->inputs[0], Op::kTranspose, {0, 2, 3, 1}) : nullptr;
    if (!forth || uses.count(unflatten->inputs[0]) != 1 || uses.count(back.inputs[0]) != 1) continue;
    const Shape in = graph->shape(forth->inputs[0]), out = graph->shape(back.outputs[0]);
    const Value& weight = graph->value(fc->inputs[1]);
    const Shape rows = graph->shape(fc->inputs[0]);
    if (!weight.is_constant || rows[1] != in[1] || out != Shape{in[0], weight.shape[0], in[2], in[3]}) continue;
    Tensor window = weight.constant;
    window.shape = {weight.shape[0], weight.shape[1], 1, 1};
    Node conv;
    conv.op = Op::kConv;
    conv.name = fc->name;
    conv.inputs = fc->inputs;
    conv.inputs[0] = forth->inputs[0];
    conv.outputs = back.outputs;
    ConvAttrs attrs;
    attrs.kernel = {1, 1};
    attrs.activation = std::get<FullyConnectedAttrs>(fc->attrs).activation;
    conv.attrs = attrs;
    conv.inputs[1] = graph->add_constant(conv.name + ".pixel#" + std::to_string(graph->values.size()), window);
    back = std::move(conv);
  }
  return {};
}

Status merge_reshapes(Graph* graph) {
  const Uses uses(*graph);
  for (Node& node : graph->nodes) {
    if (node.op != Op::kReshape) continue;
    const int before = uses.producer(node.inputs[0]);
    if (before < 0 || node_at(graph, before).op != Op::kReshape) continue;
    const Node& first = node_at(graph, before);
    auto& attrs = std::get<ReshapeAttrs>(node.attrs);
    std::vector<int64_t> dims = both(std::get<ReshapeAttrs>(first.attrs).dims, attrs.dims);
    if (dims.empty()) continue;
    attrs.dims = std::move(dims);
    node.inputs[0] = first.inputs[0];
  }
  return remove_identity(graph);
}

}  // namespace sparsenet

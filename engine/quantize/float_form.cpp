#include "quantize/float_form.h"

#include <map>
#include <utility>

#include "graph/activations.h"
#include "graph/ops.h"
#include "passes/pipeline.h"
#include "passes/rewrite.h"

namespace sparsenet {
namespace {

Activation* activation_of(Node* node) {
  if (auto* conv = std::get_if<ConvAttrs>(&node->attrs)) return &conv->activation;
  if (auto* fc = std::get_if<FullyConnectedAttrs>(&node->attrs)) return &fc->activation;
  if (auto* affine = std::get_if<AffineAttrs>(&node->attrs)) return &affine->activation;
  return nullptr;
}

bool stays_fused(const Node& node, Activation::Kind kind) {
  if (kind == Activation::Kind::kNone || kind == Activation::Kind::kRelu) return true;
  return kind == Activation::Kind::kClip && node.op != Op::kAffine;
}

// A gate h + h f becomes h (1 + f), whose sum is one over channels instead of pixels.
void merge_gates(Graph* graph) {
  const Uses uses(*graph);
  struct Id {
    ValueId id = kNoValue;
  };
  std::map<int64_t, Id> ones_of;  // by number of channels
  for (size_t i = 0; i < graph->nodes.size(); ++i) {
    const Node add = graph->nodes[i];
    if (add.op != Op::kAdd) continue;
    for (size_t side = 0; side < 2; ++side) {
      const int maker = uses.producer(add.inputs[side]);
      const ValueId h = add.inputs[1 - side];
      if (maker < 0 || uses.only_user(add.inputs[side]) != static_cast<int>(i)) continue;
      const Node mul = node_at(graph, maker);
      if (mul.op != Op::kMul || (mul.inputs[0] != h && mul.inputs[1] != h)) continue;
      const ValueId f = mul.inputs[mul.inputs[0] == h ? 1 : 0];
      const Shape shape = graph->shape(f);
      if (shape.size() != 4 || shape[2] * shape[3] != 1 || graph->value(f).is_constant) continue;
      ValueId& ones = ones_of[shape[1]].id;
      if (ones == kNoValue) {
        ones = add_pass_constant(graph, "one", {shape[1]}, std::vector<float>(static_cast<size_t>(shape[1]), 1.f));
      }
      const ValueId gate = add_pass_value(graph, mul.name + ".gate", shape);
      Node& affine = node_at(graph, maker);  // in the product's place
      affine.op = Op::kAffine;
      affine.inputs = {f, ones, ones};
      affine.outputs = {gate};
      affine.attrs = AffineAttrs{};
      Node& product = graph->nodes[i];
      product.op = Op::kMul;
      product.name = mul.name;
      product.inputs = {h, gate};
      affine.name = add.name;
      break;
    }
  }
}

}  // namespace

Status make_float_form(Graph* graph) {
  SPARSENET_RETURN_IF_ERROR(run_passes(graph, PassLevel::kForIntegers));
  merge_gates(graph);
  SPARSENET_RETURN_IF_ERROR(graph->infer_shapes());
  std::vector<Node> nodes;
  for (Node& node : graph->nodes) {
    Activation* activation = activation_of(&node);
    if (!activation || stays_fused(node, activation->kind)) {
      nodes.push_back(std::move(node));
      continue;
    }
    const ActivationRow& row = *find_activation(activation->kind);
    Node function;
    function.op = row.op.op;
    function.name = node.name + "." + row.op.name;
    function.attrs = attrs_of(row, *activation);
    function.outputs = node.outputs;
    const ValueId linear = add_pass_value(graph, node.name + ".linear", graph->shape(node.outputs[0]));
    function.inputs = {linear};
    *activation = {};
    node.outputs = {linear};
    nodes.push_back(std::move(node));
    nodes.push_back(std::move(function));
  }
  graph->nodes = std::move(nodes);
  return graph->infer_shapes();
}

}  // namespace sparsenet

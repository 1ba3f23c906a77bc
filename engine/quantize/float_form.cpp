#include "quantize/float_form.h"

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

}  // namespace

Status make_float_form(Graph* graph) {
  SPARSENET_RETURN_IF_ERROR(run_passes(graph, PassLevel::kForIntegers));
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

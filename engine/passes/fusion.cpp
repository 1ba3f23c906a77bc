// The passes fuse_residual, fuse_activation, pool_before_conv and convert_flattened_fc.
#include <utility>

#include "graph/activations.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace sparsenet {

Status fuse_residual(Graph* graph) {
  const Uses uses(*graph);
  std::vector<bool> removed(graph->nodes.size(), false);
  for (size_t i = 0; i < graph->nodes.size(); ++i) {
    const Node add = graph->nodes[i];
    if (add.op != Op::kAdd) continue;
    // The operand that is made last is tried first, because nothing has to wait for it.
    const int first = uses.producer(add.inputs[0]), second = uses.producer(add.inputs[1]);
    for (size_t side : {size_t{first > second ? 0u : 1u}, size_t{first > second ? 1u : 0u}}) {
      const int maker = uses.producer(add.inputs[side]);
      const ValueId other = add.inputs[1 - side];
      if (maker < 0 || removed[static_cast<size_t>(maker)] || uses.only_user(add.inputs[side]) != static_cast<int>(i))
        continue;
      const Node& conv = node_at(graph, maker);
      if (conv.op != Op::kConv || std::get<ConvAttrs>(conv.attrs).activation.kind != Activation::Kind::kNone) continue;
      if (conv.inputs.size() > 3 && conv.inputs[3] != kNoValue) continue;
      if (graph->shape(other) != graph->shape(add.outputs[0]) || graph->shape(conv.outputs[0]) != graph->shape(other))
        continue;
      if (graph->value(other).is_constant) continue;
      // Pad, Concat, Slice and Split often make a view, which a separate Add reads without a copy.
      const int other_maker = uses.producer(other);
      if (other_maker >= 0) {
        const Op op = node_at(graph, other_maker).op;
        if (op == Op::kPad || op == Op::kConcat || op == Op::kSlice || op == Op::kSplit) continue;
      }
      Node fused = conv;
      fused.inputs.resize(3, kNoValue);
      fused.inputs.push_back(other);
      fused.outputs = add.outputs;
      graph->nodes[i] = std::move(fused);  // at the place of the Add, where both operands are available
      removed[static_cast<size_t>(maker)] = true;
      break;
    }
  }
  erase_nodes(graph, removed);
  return {};
}

Status fuse_activation(Graph* graph) {
  const Uses uses(*graph);
  std::vector<bool> removed(graph->nodes.size(), false);
  for (size_t i = 0; i < graph->nodes.size(); ++i) {
    Activation activation;
    if (!is_activation(graph->nodes[i], &activation)) continue;
    const ValueId in = graph->nodes[i].inputs[0];
    const int maker = uses.producer(in);
    if (maker < 0 || uses.only_user(in) != static_cast<int>(i)) continue;
    Node& layer = node_at(graph, maker);
    Activation* slot = nullptr;
    if (layer.op == Op::kConv) slot = &std::get<ConvAttrs>(layer.attrs).activation;
    if (layer.op == Op::kFullyConnected) slot = &std::get<FullyConnectedAttrs>(layer.attrs).activation;
    if (layer.op == Op::kAffine) slot = &std::get<AffineAttrs>(layer.attrs).activation;
    if (!slot || slot->kind != Activation::Kind::kNone) continue;
    *slot = activation;
    layer.outputs = graph->nodes[i].outputs;
    removed[i] = true;
  }
  erase_nodes(graph, removed);
  return {};
}

Status pool_before_conv(Graph* graph) {
  const Uses uses(*graph);
  for (size_t i = 0; i < graph->nodes.size(); ++i) {
    Node& pool = graph->nodes[i];
    if (pool.op != Op::kAveragePool) continue;
    const PoolAttrs attrs = std::get<PoolAttrs>(pool.attrs);
    if (attrs.pads != std::array<int32_t, 4>{0, 0, 0, 0} || attrs.ceil_mode) continue;
    if (attrs.stride[0] * attrs.stride[1] < 2) continue;  // nothing to gain
    const int maker = uses.producer(pool.inputs[0]);
    if (maker < 0 || uses.only_user(pool.inputs[0]) != static_cast<int>(i)) continue;
    Node& conv = node_at(graph, maker);
    if (conv.op != Op::kConv) continue;
    const auto& c = std::get<ConvAttrs>(conv.attrs);
    if (c.kernel != std::array<int32_t, 2>{1, 1} || c.stride != std::array<int32_t, 2>{1, 1} || c.groups != 1 ||
        c.pads != std::array<int32_t, 4>{0, 0, 0, 0} || c.activation.kind != Activation::Kind::kNone) {
      continue;
    }
    if (conv.inputs.size() > 3 && conv.inputs[3] != kNoValue) continue;
    // conv, pool become pool, conv: each takes the other's place and keeps its own name.
    const ValueId between = conv.outputs[0];
    const ValueId out = pool.outputs[0];
    Node new_pool = pool, new_conv = conv;
    new_pool.inputs[0] = conv.inputs[0];
    new_pool.outputs[0] = between;
    new_conv.inputs[0] = between;
    new_conv.outputs[0] = out;
    node_at(graph, maker) = std::move(new_pool);
    graph->nodes[i] = std::move(new_conv);
  }
  return {};
}

Status convert_flattened_fc(Graph* graph) {
  const Uses uses(*graph);
  for (size_t i = 0; i < graph->nodes.size(); ++i) {
    const Node fc = graph->nodes[i];
    if (fc.op != Op::kFullyConnected) continue;
    const int maker = uses.producer(fc.inputs[0]);
    if (maker < 0) continue;
    const Node reshape = node_at(graph, maker);
    if (reshape.op != Op::kReshape || uses.only_user(fc.inputs[0]) != static_cast<int>(i)) continue;
    const Shape image = graph->shape(reshape.inputs[0]);
    const Shape flat = graph->shape(reshape.outputs[0]);
    if (image.size() != 4 || image[2] * image[3] == 1 || flat[0] != image[0]) continue;
    if (image[2] > 1024 || image[3] > 1024) continue;
    if (image[1] == 1) continue;  // flattening one channel moves nothing, and a fully connected layer is faster
    const Value& weight = graph->value(fc.inputs[1]);
    if (!weight.is_constant) continue;
    Tensor window = weight.constant;
    window.shape = {weight.shape[0], image[1], image[2], image[3]};
    const ValueId w = graph->add_constant(fc.name + ".window#" + std::to_string(graph->values.size()), window);
    const ValueId pixel = add_pass_value(graph, fc.name + ".pixel", {image[0], window.shape[0], 1, 1});
    Node& conv = node_at(graph, maker);  // the reshape's place
    conv.op = Op::kConv;
    conv.name = fc.name;
    conv.inputs = {reshape.inputs[0], w, fc.inputs.size() > 2 ? fc.inputs[2] : kNoValue};
    conv.outputs = {pixel};
    ConvAttrs attrs;
    attrs.kernel = {static_cast<int32_t>(image[2]), static_cast<int32_t>(image[3])};
    attrs.activation = std::get<FullyConnectedAttrs>(fc.attrs).activation;
    conv.attrs = attrs;
    Node& flatten = graph->nodes[i];
    flatten.op = Op::kReshape;
    flatten.inputs = {pixel};
    flatten.attrs = ReshapeAttrs{{0, window.shape[0]}};
  }
  return {};
}

}  // namespace sparsenet

// The passes remove_identity, remove_dead_nodes, convert_reduce_mean and merge_pad: small rewrites without arithmetic.
#include <utility>

#include "passes/passes.h"
#include "passes/rewrite.h"

namespace sparsenet {

Status remove_identity(Graph* graph) {
  std::vector<bool> removed(graph->nodes.size(), false);
  std::vector<ValueId> becomes(graph->values.size(), kNoValue);
  std::vector<bool> is_output(graph->values.size(), false);  // these keep their names, and so their nodes
  for (ValueId id : graph->outputs) is_output[static_cast<size_t>(id)] = true;
  for (size_t i = 0; i < graph->nodes.size(); ++i) {
    Node& node = graph->nodes[i];
    for (ValueId& id : node.inputs) {
      if (id != kNoValue && becomes[static_cast<size_t>(id)] != kNoValue) id = becomes[static_cast<size_t>(id)];
    }
    bool nothing = node.op == Op::kIdentity;
    if (node.op == Op::kReshape) nothing = graph->shape(node.inputs[0]) == graph->shape(node.outputs[0]);
    if (node.op == Op::kTranspose) {
      nothing = true;
      const auto& perm = std::get<TransposeAttrs>(node.attrs).perm;
      for (size_t d = 0; d < perm.size(); ++d) nothing = nothing && perm[d] == static_cast<int32_t>(d);
    }
    if (node.op == Op::kConcat) nothing = node.inputs.size() == 1;
    if (!nothing || is_output[static_cast<size_t>(node.outputs[0])]) continue;
    removed[i] = true;
    becomes[static_cast<size_t>(node.outputs[0])] = node.inputs[0];
  }
  erase_nodes(graph, removed);
  return {};
}

Status remove_dead_nodes(Graph* graph) {
  std::vector<bool> live(graph->values.size(), false);
  for (ValueId id : graph->outputs) live[static_cast<size_t>(id)] = true;
  std::vector<bool> removed(graph->nodes.size(), false);
  for (size_t i = graph->nodes.size(); i-- > 0;) {
    const Node& node = graph->nodes[i];
    bool used = false;
    for (ValueId id : node.outputs) used = used || live[static_cast<size_t>(id)];
    removed[i] = !used;
    if (!used) continue;
    for (ValueId id : node.inputs) {
      if (id != kNoValue) live[static_cast<size_t>(id)] = true;
    }
  }
  erase_nodes(graph, removed);
  return {};
}

Status convert_reduce_mean(Graph* graph) {
  for (size_t i = 0; i < graph->nodes.size(); ++i) {
    if (graph->nodes[i].op != Op::kReduceMean) continue;
    const ReduceAttrs attrs = std::get<ReduceAttrs>(graph->nodes[i].attrs);
    const Shape& s = graph->shape(graph->nodes[i].inputs[0]);
    if (s.size() != 4 || attrs.axes != std::vector<int32_t>{2, 3}) continue;
    graph->nodes[i].op = Op::kGlobalAveragePool;
    graph->nodes[i].attrs = NoAttrs{};
    if (attrs.keep_dims) continue;
    Node reshape;
    reshape.op = Op::kReshape;
    reshape.name = graph->nodes[i].name;
    reshape.outputs = graph->nodes[i].outputs;
    reshape.attrs = ReshapeAttrs{{0, s[1]}};
    const ValueId pooled = add_pass_value(graph, reshape.name, {s[0], s[1], 1, 1});
    graph->nodes[i].outputs = {pooled};
    reshape.inputs = {pooled};
    graph->nodes.insert(graph->nodes.begin() + static_cast<std::ptrdiff_t>(i) + 1, std::move(reshape));
  }
  return {};
}

Status merge_pad(Graph* graph) {
  const Uses uses(*graph);
  std::vector<bool> removed(graph->nodes.size(), false);
  for (size_t i = 0; i < graph->nodes.size(); ++i) {
    const Node& pad = graph->nodes[i];
    if (pad.op != Op::kPad || graph->shape(pad.inputs[0]).size() != 4) continue;
    const auto& p = std::get<PadAttrs>(pad.attrs);
    if (p.value != 0.f || p.before[1] != 0 || p.after[1] != 0) continue;
    const int user = uses.only_user(pad.outputs[0]);
    if (user < 0 || node_at(graph, user).op != Op::kConv || node_at(graph, user).inputs[0] != pad.outputs[0]) continue;
    auto& conv = std::get<ConvAttrs>(node_at(graph, user).attrs);
    std::array<int32_t, 4> pads = conv.pads;
    bool fits = true;
    for (size_t d = 0; d < 2; ++d) {
      fits = fits && p.before[d + 2] < 1024 && p.after[d + 2] < 1024;
      if (!fits) break;
      pads[d] += static_cast<int32_t>(p.before[d + 2]);
      pads[d + 2] += static_cast<int32_t>(p.after[d + 2]);
    }
    if (!fits) continue;
    conv.pads = pads;
    node_at(graph, user).inputs[0] = pad.inputs[0];
    removed[i] = true;
  }
  erase_nodes(graph, removed);
  return {};
}

}  // namespace sparsenet

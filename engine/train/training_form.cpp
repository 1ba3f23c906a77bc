#include "train/training_form.h"

#include <utility>

#include "graph/activations.h"
#include "graph/integers.h"
#include "graph/training_ops.h"
#include "passes/passes.h"
#include "passes/pipeline.h"
#include "passes/rewrite.h"

namespace sparsenet {
namespace {

// Removes a Softmax at the end, also one over the channels of [N, C, 1, 1] with a Reshape to [N, C] behind it.
void remove_final_softmax(Graph* graph) {
  const Uses uses(*graph);
  const ValueId output = graph->outputs[0];
  int reader = -1;  // the node that reads the value looked at; -1: it is the output
  for (int i = uses.producer(output); i >= 0;) {
    Node& node = node_at(graph, i);
    const ValueId x = node.inputs.empty() ? kNoValue : node.inputs[0];
    if (node.op == Op::kSoftmax) {
      const Shape& s = graph->shape(x);
      const bool over_classes =
          std::get<AxisAttrs>(node.attrs).axis == 1 && s.size() > 1 && element_count(s) == s[0] * s[1];
      if (reader < 0) {
        graph->outputs[0] = x;
      } else if (over_classes) {
        node_at(graph, reader).inputs[0] = x;
      }
      return;
    }
    if (node.op == Op::kIdentity && reader < 0) {
      graph->outputs[0] = x;
    } else if ((node.op == Op::kReshape || node.op == Op::kIdentity) && uses.count(x) == 1) {
      reader = i;
    } else {
      return;
    }
    i = uses.producer(x);
  }
}

Node activation_node(const Activation& a, const std::string& name, ValueId from, ValueId to) {
  Node node;
  node.name = name + ".activation";
  node.inputs = {from};
  node.outputs = {to};
  const ActivationRow* row = find_activation(a.kind);
  node.op = row->op.op;
  node.attrs = attrs_of(*row, a);
  return node;
}

// Splits Conv and FullyConnected with a fused activation or residual into one node for each part. Nodes that compute
// with integers are frozen: they stay as they are.
void unfuse(Graph* graph) {
  std::vector<Node> nodes;
  for (Node& node : graph->nodes) {
    if (has_integers(*graph, node)) {
      nodes.push_back(std::move(node));
      continue;
    }
    Activation activation;
    ValueId residual = kNoValue;
    if (node.op == Op::kConv) {
      std::swap(activation, std::get<ConvAttrs>(node.attrs).activation);
      if (node.inputs.size() > 3) {
        residual = node.inputs[3];
        node.inputs.resize(3);
      }
    } else if (node.op == Op::kFullyConnected) {
      std::swap(activation, std::get<FullyConnectedAttrs>(node.attrs).activation);
    }
    const ValueId result = node.outputs.empty() ? kNoValue : node.outputs[0];
    const std::string name = node.name;
    auto before_result = [&]() { return add_pass_value(graph, name, Shape(graph->shape(result))); };
    std::vector<Node> behind;
    if (activation.kind != Activation::Kind::kNone) {
      const ValueId x = before_result();
      behind.push_back(activation_node(activation, name, x, result));
      node.outputs[0] = x;
    }
    if (residual != kNoValue) {
      Node add;
      add.op = Op::kAdd;
      add.name = name + ".add";
      add.outputs = {node.outputs[0]};
      node.outputs[0] = before_result();
      add.inputs = {node.outputs[0], residual};
      behind.insert(behind.begin(), std::move(add));
    }
    nodes.push_back(std::move(node));
    for (Node& more : behind) nodes.push_back(std::move(more));
  }
  graph->nodes = std::move(nodes);
}

// Writes LayerNorm as arithmetic, which has gradients.
void spell_out_layer_norms(Graph* graph) {
  std::vector<Node> nodes = std::move(graph->nodes);
  graph->nodes.clear();
  for (Node& norm : nodes) {
    if (norm.op != Op::kLayerNorm) {
      graph->nodes.push_back(std::move(norm));
      continue;
    }
    const ValueId x = norm.inputs[0], y = norm.outputs[0];
    const Shape s = graph->shape(x);
    const int32_t axis = s.size() == 3 ? 2 : 1;
    Shape one = s;
    one[static_cast<size_t>(axis)] = 1;
    const auto add = [&](Op op, std::vector<ValueId> inputs, Attrs attrs, const Shape& shape) {
      Node node;
      node.op = op;
      node.name = norm.name;
      node.inputs = std::move(inputs);
      node.attrs = std::move(attrs);
      node.outputs = {add_pass_value(graph, norm.name, Shape(shape))};
      graph->nodes.push_back(std::move(node));
      return graph->nodes.back().outputs[0];
    };
    const ReduceAttrs mean{{axis}, true};
    const float epsilon = std::get<BatchNormAttrs>(norm.attrs).epsilon;
    const ValueId difference = add(Op::kSub, {x, add(Op::kReduceMean, {x}, mean, one)}, NoAttrs{}, s);
    const ValueId variance = add(Op::kReduceMean, {add(Op::kMul, {difference, difference}, NoAttrs{}, s)}, mean, one);
    const ValueId enough =
        add(Op::kAdd, {variance, add_pass_constant(graph, norm.name + ".epsilon", {1}, {epsilon})}, NoAttrs{}, one);
    ValueId v = add(Op::kMul, {difference, add(Op::kPow, {enough}, AlphaBetaAttrs{-0.5f, 0.f}, one)}, NoAttrs{}, s);
    Shape channels{s[static_cast<size_t>(axis)]};
    if (s.size() == 4) channels.insert(channels.end(), 2, 1);
    for (size_t i = 1; i < norm.inputs.size(); ++i) {
      if (norm.inputs[i] == kNoValue) continue;
      const std::vector<float> values = to_float32(graph->value(norm.inputs[i]).constant);
      v = add(i == 1 ? Op::kMul : Op::kAdd, {v, add_pass_constant(graph, norm.name, channels, values)}, NoAttrs{}, s);
    }
    graph->nodes.back().outputs[0] = y;
  }
}

bool is_pixel_factor(const Graph& graph, ValueId x, ValueId f) {
  const Shape &a = graph.shape(x), &b = graph.shape(f);
  return a.size() == 4 && b.size() == 4 && b[0] == a[0] && b[1] == a[1] && b[2] == 1 && b[3] == 1 && a[2] * a[3] > 1;
}

// Turns h + h f, where f is one factor per channel and image, into h (f + 1), so that no product of the size of h is
// kept, and products with such factors into ScalePixels.
void merge_gates(Graph* graph) {
  const Uses uses(*graph);
  std::vector<bool> removed(graph->nodes.size(), false);
  ValueId one = kNoValue;
  for (size_t i = 0; i < graph->nodes.size(); ++i) {
    if (graph->nodes[i].op != Op::kAdd || has_integers(*graph, graph->nodes[i])) continue;
    for (size_t side = 0; side < 2; ++side) {
      const ValueId h = graph->nodes[i].inputs[side], product = graph->nodes[i].inputs[1 - side];
      const int mul = uses.producer(product);
      if (mul < 0 || node_at(graph, mul).op != Op::kMul || uses.only_user(product) != static_cast<int>(i)) continue;
      const std::vector<ValueId> factors = node_at(graph, mul).inputs;
      const ValueId f = factors[0] == h ? factors[1] : factors[1] == h ? factors[0] : kNoValue;
      if (f == kNoValue || !is_pixel_factor(*graph, h, f)) continue;
      if (one == kNoValue) one = add_pass_constant(graph, "one", {1, 1, 1, 1}, {1.f});
      Node& add = node_at(graph, mul);  // takes the place of the product, where f has been made
      add.op = Op::kAdd;
      const ValueId sum = add_pass_value(graph, add.name + ".plus1", Shape(graph->shape(f)));
      node_at(graph, mul).inputs = {f, one};
      node_at(graph, mul).outputs = {sum};
      graph->nodes[i].op = Op::kMul;
      graph->nodes[i].inputs = {h, sum};
      break;
    }
  }
  for (Node& node : graph->nodes) {
    if (node.op != Op::kMul || has_integers(*graph, node)) continue;
    if (is_pixel_factor(*graph, node.inputs[1], node.inputs[0])) std::swap(node.inputs[0], node.inputs[1]);
    if (!is_pixel_factor(*graph, node.inputs[0], node.inputs[1])) continue;
    node.op = TrainOp::kScalePixels;
    node.attrs = to_attrs({});
  }
  erase_nodes(graph, removed);
}

// Runs the passes of inference on the nodes that depend on no trained parameter, as a graph of their own whose outputs
// are what the other nodes read.
Status fold_frozen_part(Graph* graph, const std::vector<bool>& active) {
  std::vector<Node> frozen, rest;
  for (Node& node : graph->nodes) {
    bool any = false;
    for (ValueId id : node.inputs) any = any || (id != kNoValue && active[static_cast<size_t>(id)]);
    (any ? rest : frozen).push_back(std::move(node));
  }
  if (frozen.empty()) {
    graph->nodes = std::move(rest);
    return {};
  }
  std::vector<bool> made(graph->values.size(), false), wanted(graph->values.size(), false);
  for (const Node& node : frozen) {
    for (ValueId id : node.outputs) made[static_cast<size_t>(id)] = true;
  }
  auto want = [&](ValueId id) {
    if (id != kNoValue && made[static_cast<size_t>(id)]) wanted[static_cast<size_t>(id)] = true;
  };
  for (const Node& node : rest) {
    for (ValueId id : node.inputs) want(id);
  }
  want(graph->outputs[0]);
  Graph part;
  part.values = graph->values;
  part.inputs = graph->inputs;
  part.nodes = std::move(frozen);
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i]) part.outputs.push_back(static_cast<ValueId>(i));
  }
  if (part.outputs.empty()) return internal_error("a frozen part without readers");
  const std::vector<ValueId> outputs = part.outputs;
  SPARSENET_RETURN_IF_ERROR(run_passes(&part, PassLevel::kAll));
  std::vector<ValueId> becomes(part.values.size());
  for (size_t i = 0; i < becomes.size(); ++i) becomes[i] = static_cast<ValueId>(i);
  for (size_t i = 0; i < outputs.size(); ++i) becomes[static_cast<size_t>(outputs[i])] = part.outputs[i];
  graph->values = std::move(part.values);
  graph->nodes = std::move(part.nodes);
  for (Node& node : rest) {
    for (ValueId& id : node.inputs) {
      if (id != kNoValue) id = becomes[static_cast<size_t>(id)];
    }
    graph->nodes.push_back(std::move(node));
  }
  graph->outputs[0] = becomes[static_cast<size_t>(graph->outputs[0])];
  return {};
}

}  // namespace

std::vector<bool> active_values(const Graph& graph, const std::vector<bool>& trained) {
  std::vector<bool> active = trained;
  active.resize(graph.values.size(), false);
  for (const Node& node : graph.nodes) {
    bool any = false;
    for (ValueId id : node.inputs) any = any || (id != kNoValue && active[static_cast<size_t>(id)]);
    for (ValueId id : node.outputs) active[static_cast<size_t>(id)] = any;
  }
  return active;
}

Status to_training_form(Graph* graph, const std::vector<bool>& trained) {
  remove_final_softmax(graph);
  SPARSENET_RETURN_IF_ERROR(remove_identity(graph));
  SPARSENET_RETURN_IF_ERROR(convert_reduce_mean(graph));
  SPARSENET_RETURN_IF_ERROR(remove_dead_nodes(graph));
  SPARSENET_RETURN_IF_ERROR(graph->infer_shapes());
  SPARSENET_RETURN_IF_ERROR(fold_frozen_part(graph, active_values(*graph, trained)));
  unfuse(graph);
  spell_out_layer_norms(graph);
  SPARSENET_RETURN_IF_ERROR(graph->infer_shapes());
  merge_gates(graph);
  if (!has_integers(*graph)) {
    SPARSENET_RETURN_IF_ERROR(merge_pad(graph));
    SPARSENET_RETURN_IF_ERROR(pool_before_conv(graph));
  }
  return graph->infer_shapes();
}

}  // namespace sparsenet

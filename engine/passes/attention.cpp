// The pass recognize_attention: finds channel gates by walking back from the product h * f.
#include <utility>

#include "graph/activations.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace sparsenet {
namespace {

class Matcher {
 public:
  explicit Matcher(Graph* graph) : graph_(graph), uses_(*graph) {}

  // If node `mul` is h * f, or together with node `add` h + h * f, of a gate: make it one node, mark the nodes that it
  // replaces in `removed`, and return true.
  bool squeeze_excite(int mul);
  bool paper(int mul, int add);

  // The node that adds h to the product h * f of node `mul`, or -1.
  int add_behind(int mul, ValueId* h) const;
  std::vector<bool> removed;

 private:
  // A 1x1 convolution or FC layer on one pixel, with the activation behind it (fused or a node of its own).
  struct Layer {
    ValueId input = kNoValue, weight = kNoValue, bias = kNoValue;
    Activation activation;
    std::vector<int> nodes;
  };

  const Node* made_by(ValueId id, Op op, int* index) const {
    if (id == kNoValue) return nullptr;
    *index = uses_.producer(id);
    if (*index < 0) return nullptr;
    const Node& node = graph_->nodes[static_cast<size_t>(*index)];
    return node.op == op ? &node : nullptr;
  }

  // Goes back over reshapes between [N, C] and [N, C, 1, 1], and appends their nodes to *passed.
  ValueId skip_reshape(ValueId id, std::vector<int>* passed) const;
  bool layer(ValueId out, Layer* found) const;
  bool batch_norm_relu(ValueId out, ValueId* input, std::vector<float>* scale, std::vector<float>* shift,
                       std::vector<int>* passed) const;
  ValueId matrix(ValueId weight, const std::string& name);
  ValueId vector_or_zeros(ValueId bias, int64_t size, const std::string& name);
  // Whether every value made by the nodes `inner` is read only by them or by the node `last`.
  bool closed(const std::vector<int>& inner, int last) const;
  void replace(const std::vector<int>& inner, int last, Node attention);

  Graph* graph_;
  Uses uses_;
};

ValueId Matcher::skip_reshape(ValueId id, std::vector<int>* passed) const {
  int index = -1;
  while (const Node* node = made_by(id, Op::kReshape, &index)) {
    const Shape& a = graph_->shape(node->inputs[0]);
    const Shape& b = graph_->shape(node->outputs[0]);
    if (a.size() < 2 || b.size() < 2 || a[0] != b[0] || a[1] != b[1] || element_count(a) != a[0] * a[1]) break;
    passed->push_back(index);
    id = node->inputs[0];
  }
  return id;
}

bool Matcher::layer(ValueId out, Layer* found) const {
  out = skip_reshape(out, &found->nodes);
  int index = uses_.producer(out);
  if (index < 0) return false;
  const Node* node = &graph_->nodes[static_cast<size_t>(index)];
  if (is_activation(*node, &found->activation)) {
    found->nodes.push_back(index);
    out = skip_reshape(node->inputs[0], &found->nodes);
    index = uses_.producer(out);
    if (index < 0) return false;
    node = &graph_->nodes[static_cast<size_t>(index)];
  }
  Activation fused;
  if (node->op == Op::kConv) {
    const auto& a = std::get<ConvAttrs>(node->attrs);
    if (a.kernel != std::array<int32_t, 2>{1, 1} || a.groups != 1 || a.stride != std::array<int32_t, 2>{1, 1} ||
        a.pads != std::array<int32_t, 4>{0, 0, 0, 0} || (node->inputs.size() > 3 && node->inputs[3] != kNoValue)) {
      return false;
    }
    const Shape& s = graph_->shape(node->outputs[0]);
    if (s[2] != 1 || s[3] != 1) return false;
    fused = a.activation;
  } else if (node->op == Op::kFullyConnected) {
    fused = std::get<FullyConnectedAttrs>(node->attrs).activation;
  } else {
    return false;
  }
  if (fused.kind != Activation::Kind::kNone) {
    if (found->activation.kind != Activation::Kind::kNone) return false;
    found->activation = fused;
  }
  if (!constant_f32(*graph_, node->inputs[1])) return false;
  found->nodes.push_back(index);
  found->weight = node->inputs[1];
  found->bias = node->inputs.size() > 2 ? node->inputs[2] : kNoValue;
  if (found->bias != kNoValue && !constant_f32(*graph_, found->bias)) return false;
  found->input = skip_reshape(node->inputs[0], &found->nodes);
  return true;
}

bool Matcher::batch_norm_relu(ValueId out, ValueId* input, std::vector<float>* scale, std::vector<float>* shift,
                              std::vector<int>* passed) const {
  int index = -1;
  const Node* relu = made_by(out, Op::kRelu, &index);
  if (!relu) return false;
  passed->push_back(index);
  const Node* bn = made_by(relu->inputs[0], Op::kBatchNorm, &index);
  if (!bn) return false;
  passed->push_back(index);
  // Uses the arithmetic of convert_batch_norm, on a graph of this node alone.
  Graph one;
  Node copy = *bn;
  for (size_t i = 1; i < 5; ++i) {
    const Value& value = graph_->value(bn->inputs[i]);
    if (!constant_f32(*graph_, bn->inputs[i])) return false;
    copy.inputs[i] = one.add_constant(value.name + std::to_string(i), value.constant);
  }
  copy.inputs[0] = one.add_input("x", graph_->shape(bn->inputs[0]));
  one.nodes.push_back(copy);
  if (!convert_batch_norm(&one).ok()) return false;
  const Node& affine = one.nodes[0];
  const auto channels = static_cast<size_t>(one.shape(affine.inputs[1])[0]);
  const float* s = constant_f32(one, affine.inputs[1]);
  const float* t = constant_f32(one, affine.inputs[2]);
  scale->assign(s, s + channels);
  shift->assign(t, t + channels);
  *input = bn->inputs[0];
  return true;
}

ValueId Matcher::matrix(ValueId weight, const std::string& name) {
  const Value& value = graph_->value(weight);
  if (value.shape.size() == 2) return weight;
  Tensor tensor = value.constant;
  tensor.shape = {value.shape[0], value.shape[1]};
  return graph_->add_constant(name + "#" + std::to_string(graph_->values.size()), tensor);
}

ValueId Matcher::vector_or_zeros(ValueId bias, int64_t size, const std::string& name) {
  if (bias != kNoValue) return bias;
  return add_pass_constant(graph_, name, {size}, std::vector<float>(static_cast<size_t>(size), 0.f));
}

bool Matcher::closed(const std::vector<int>& inner, int last) const {
  for (int index : inner) {
    if (removed[static_cast<size_t>(index)]) return false;
    for (ValueId out : graph_->nodes[static_cast<size_t>(index)].outputs) {
      int inside = 0;
      auto count_uses = [&](int user) {
        for (ValueId id : graph_->nodes[static_cast<size_t>(user)].inputs) inside += id == out;
      };
      for (int user : inner) count_uses(user);
      count_uses(last);
      if (inside != uses_.count(out)) return false;  // read elsewhere, or an output of the graph
    }
  }
  return true;
}

void Matcher::replace(const std::vector<int>& inner, int last, Node attention) {
  attention.outputs = graph_->nodes[static_cast<size_t>(last)].outputs;
  attention.op = Op::kAttention;
  for (int index : inner) removed[static_cast<size_t>(index)] = true;
  graph_->nodes[static_cast<size_t>(last)] = std::move(attention);
}

int Matcher::add_behind(int mul, ValueId* h) const {
  const Node& m = graph_->nodes[static_cast<size_t>(mul)];
  const int user = uses_.only_user(m.outputs[0]);
  if (user < 0) return -1;
  const Node& add = graph_->nodes[static_cast<size_t>(user)];
  if (add.op != Op::kAdd) return -1;
  *h = add.inputs[0] == m.outputs[0] ? add.inputs[1] : add.inputs[0];
  return *h == m.inputs[0] || *h == m.inputs[1] ? user : -1;
}

bool Matcher::paper(int mul, int add) {
  const Node& m = graph_->nodes[static_cast<size_t>(mul)];
  const Node& a = graph_->nodes[static_cast<size_t>(add)];
  const ValueId h = a.inputs[0] == m.outputs[0] ? a.inputs[1] : a.inputs[0];
  const ValueId f = m.inputs[0] == h ? m.inputs[1] : m.inputs[0];
  std::vector<int> inner{mul};
  Layer second, first;
  int index = -1;
  if (!layer(f, &second) || second.activation.kind != Activation::Kind::kSigmoid) return false;
  std::vector<float> s1, t1, s2, t2;
  ValueId both = kNoValue, g = kNoValue;
  if (!batch_norm_relu(second.input, &both, &s2, &t2, &inner)) return false;
  const Node* concat = made_by(both, Op::kConcat, &index);
  if (!concat || concat->inputs.size() != 2 || std::get<AxisAttrs>(concat->attrs).axis != 1) return false;
  inner.push_back(index);
  const ValueId pooled = concat->inputs[1];
  if (!layer(concat->inputs[0], &first) || first.activation.kind != Activation::Kind::kNone) return false;
  if (!batch_norm_relu(first.input, &g, &s1, &t1, &inner) || g != pooled) return false;
  const Node* pool = made_by(g, Op::kGlobalAveragePool, &index);
  if (!pool || pool->inputs[0] != h) return false;
  inner.push_back(index);
  inner.insert(inner.end(), first.nodes.begin(), first.nodes.end());
  inner.insert(inner.end(), second.nodes.begin(), second.nodes.end());
  const int64_t c = graph_->shape(h).size() == 4 ? graph_->shape(h)[1] : 0;
  const Shape& w1 = graph_->shape(first.weight);
  const Shape& w2 = graph_->shape(second.weight);
  if (c == 0 || w1[0] != c || w1[1] != c || w2[0] != c || w2[1] != 2 * c || !closed(inner, add)) return false;
  const std::string name = a.name;
  Node node;
  node.name = name;
  node.inputs = {h};
  node.inputs.push_back(add_pass_constant(graph_, name + ".s1", {c}, std::move(s1)));
  node.inputs.push_back(add_pass_constant(graph_, name + ".t1", {c}, std::move(t1)));
  node.inputs.push_back(matrix(first.weight, name + ".w1"));
  node.inputs.push_back(vector_or_zeros(first.bias, c, name + ".b1"));
  node.inputs.push_back(add_pass_constant(graph_, name + ".s2", {2 * c}, std::move(s2)));
  node.inputs.push_back(add_pass_constant(graph_, name + ".t2", {2 * c}, std::move(t2)));
  node.inputs.push_back(matrix(second.weight, name + ".w2"));
  node.inputs.push_back(vector_or_zeros(second.bias, c, name + ".b2"));
  node.attrs = AttentionAttrs{};
  replace(inner, add, std::move(node));
  return true;
}

bool Matcher::squeeze_excite(int mul) {
  const Node& m = graph_->nodes[static_cast<size_t>(mul)];
  for (size_t side = 0; side < 2; ++side) {
    const ValueId h = m.inputs[side], f = m.inputs[1 - side];
    const Shape& s = graph_->shape(h);
    if (s.size() != 4 || graph_->shape(m.outputs[0]) != s) continue;
    std::vector<int> inner;
    Layer second, first;
    int index = -1;
    if (!layer(f, &second) || second.activation.kind == Activation::Kind::kNone || !layer(second.input, &first))
      continue;
    std::vector<int> passed;
    const Node* pool = made_by(skip_reshape(first.input, &passed), Op::kGlobalAveragePool, &index);
    if (!pool || pool->inputs[0] != h) continue;
    inner.push_back(index);
    inner.insert(inner.end(), passed.begin(), passed.end());
    inner.insert(inner.end(), first.nodes.begin(), first.nodes.end());
    inner.insert(inner.end(), second.nodes.begin(), second.nodes.end());
    const int64_t c = s[1];
    const Shape w1 = graph_->shape(first.weight), w2 = graph_->shape(second.weight);
    if (w1[1] != c || w2[0] != c || w2[1] != w1[0] || !closed(inner, mul)) continue;
    const std::string name = m.name;
    Node node;
    node.name = name;
    node.inputs = {h};
    node.inputs.push_back(matrix(first.weight, name + ".w1"));
    node.inputs.push_back(vector_or_zeros(first.bias, w1[0], name + ".b1"));
    node.inputs.push_back(matrix(second.weight, name + ".w2"));
    node.inputs.push_back(vector_or_zeros(second.bias, c, name + ".b2"));
    AttentionAttrs attrs;
    attrs.kind = AttentionAttrs::Kind::kSqueezeExcite;
    attrs.activation = first.activation;
    attrs.gate = second.activation;
    node.attrs = attrs;
    replace(inner, mul, std::move(node));
    return true;
  }
  return false;
}

}  // namespace

Status recognize_attention(Graph* graph) {
  bool any = false;
  for (const Node& node : graph->nodes) any = any || node.op == Op::kGlobalAveragePool;
  if (!any) return {};
  Matcher matcher(graph);
  matcher.removed.assign(graph->nodes.size(), false);
  const auto count = static_cast<int>(graph->nodes.size());
  for (int i = 0; i < count; ++i) {
    if (graph->nodes[static_cast<size_t>(i)].op != Op::kMul) continue;
    ValueId h = kNoValue;
    const int add = matcher.add_behind(i, &h);
    if (add >= 0 && matcher.paper(i, add)) continue;
    matcher.squeeze_excite(i);
  }
  erase_nodes(graph, matcher.removed);
  return {};
}

}  // namespace sparsenet

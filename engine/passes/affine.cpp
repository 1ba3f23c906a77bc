// The passes for Affine, a scale and shift per channel: they make it from BatchNorm and from arithmetic with constants,
// and fold it into the layers before and after.
#include <algorithm>
#include <cmath>
#include <utility>

#include "passes/passes.h"
#include "passes/rewrite.h"

namespace sparsenet {

Status convert_batch_norm(Graph* graph) {
  for (size_t i = 0; i < graph->nodes.size(); ++i) {
    if (graph->nodes[i].op != Op::kBatchNorm) continue;
    const Node node = graph->nodes[i];
    const float* p[4];
    for (size_t j = 0; j < 4; ++j) {
      p[j] = constant_f32(*graph, node.inputs[j + 1]);
      if (!p[j]) return unsupported("BatchNorm '" + node.name + "': expected constant parameters");
    }
    const Shape& x = graph->shape(node.inputs[0]);
    const auto channels = static_cast<size_t>(x[1]);
    const double epsilon = std::get<BatchNormAttrs>(node.attrs).epsilon;
    std::vector<float> scale(channels), shift(channels);
    for (size_t c = 0; c < channels; ++c) {
      // Computed in double, so that the quotient is rounded only once.
      const double factor = p[0][c] / std::sqrt(static_cast<double>(p[3][c]) + epsilon);
      scale[c] = static_cast<float>(factor);
      shift[c] = static_cast<float>(p[1][c] - factor * p[2][c]);
    }
    const ValueId s = add_pass_constant(graph, node.name + ".scale", {x[1]}, std::move(scale));
    const ValueId t = add_pass_constant(graph, node.name + ".shift", {graph->shape(s)[0]}, std::move(shift));
    Node& affine = graph->nodes[i];
    affine.op = Op::kAffine;
    affine.inputs = {node.inputs[0], s, t};
    affine.attrs = AffineAttrs{};
  }
  return {};
}

namespace {

// Gets the constant's value for every channel of `image`. False unless it broadcasts as one value per channel, or as a
// single value for all.
bool channel_values(const Graph& graph, ValueId id, const Shape& image, std::vector<float>* values) {
  const float* data = constant_f32(graph, id);
  if (!data) return false;
  const Shape& s = graph.shape(id);
  if (s.size() > image.size()) return false;
  const int64_t count = element_count(s);
  const auto channels = static_cast<size_t>(image[1]);
  if (count == 1) {
    values->assign(channels, data[0]);
    return true;
  }
  // The dimension that lines up with the channels must be the only one.
  const size_t missing = image.size() - s.size();
  if (missing > 1) return false;
  if (s[1 - missing] != image[1] || count != image[1]) return false;
  values->assign(data, data + channels);
  return true;
}

}  // namespace

Status convert_channel_constants(Graph* graph) {
  for (size_t i = 0; i < graph->nodes.size(); ++i) {
    const Op op = graph->nodes[i].op;
    if (op != Op::kAdd && op != Op::kSub && op != Op::kMul && op != Op::kDiv) continue;
    const Node node = graph->nodes[i];
    const Shape image = graph->shape(node.outputs[0]);
    if (image.size() != 4 && image.size() != 2) continue;
    for (size_t side = 0; side < 2; ++side) {  // which operand is the constant
      std::vector<float> k;
      const ValueId x = node.inputs[1 - side];
      if (graph->shape(x) != image || !channel_values(*graph, node.inputs[side], image, &k)) continue;
      if (op == Op::kDiv && side == 0) continue;  // k / x is not affine
      std::vector<float> scale(k.size(), 1.f), shift(k.size(), 0.f);
      for (size_t c = 0; c < k.size(); ++c) {
        if (op == Op::kMul) scale[c] = k[c];
        if (op == Op::kDiv) scale[c] = 1.f / k[c];
        if (op == Op::kAdd) shift[c] = k[c];
        if (op == Op::kSub) {
          shift[c] = side == 1 ? -k[c] : k[c];
          scale[c] = side == 1 ? 1.f : -1.f;
        }
      }
      const Shape vector{image[1]};
      const ValueId s = add_pass_constant(graph, node.name + ".scale", vector, std::move(scale));
      const ValueId t = add_pass_constant(graph, node.name + ".shift", vector, std::move(shift));
      Node& affine = graph->nodes[i];
      affine.op = Op::kAffine;
      affine.inputs = {x, s, t};
      affine.attrs = AffineAttrs{};
      break;
    }
  }
  return {};
}

namespace {

bool has_activation(const Node& node) {
  Activation a;
  if (node.op == Op::kConv) a = std::get<ConvAttrs>(node.attrs).activation;
  if (node.op == Op::kFullyConnected) a = std::get<FullyConnectedAttrs>(node.attrs).activation;
  if (node.op == Op::kAffine) a = std::get<AffineAttrs>(node.attrs).activation;
  return a.kind != Activation::Kind::kNone;
}

bool has_residual(const Node& node) {
  return node.inputs.size() > 3 && node.inputs[3] != kNoValue;
}

ValueId bias_of(const Node& node) {
  return node.inputs.size() > 2 ? node.inputs[2] : kNoValue;
}

void set_parameters(Graph* graph, Node* node, std::vector<float> weight, std::vector<float> bias) {
  const std::string name = node->name;
  const Shape shape = graph->shape(node->inputs[1]);
  const ValueId w = add_pass_constant(graph, name + ".weight", shape, std::move(weight));
  const ValueId b = add_pass_constant(graph, name + ".bias", {shape[0]}, std::move(bias));
  node->inputs.resize(std::max<size_t>(node->inputs.size(), 3), kNoValue);
  node->inputs[1] = w;
  node->inputs[2] = b;
}

}  // namespace

Status fold_affine_backward(Graph* graph) {
  // Chains of several affines (a scale, then a shift) fold one after the other, so this repeats, with fresh counts of
  // the uses, until nothing changes.
  for (bool changed = true; changed;) {
    changed = false;
    const Uses uses(*graph);
    std::vector<bool> removed(graph->nodes.size(), false);
    for (size_t i = 0; i < graph->nodes.size(); ++i) {
      const Node affine = graph->nodes[i];
      if (affine.op != Op::kAffine) continue;
      const int maker = uses.producer(affine.inputs[0]);
      if (maker < 0 || removed[static_cast<size_t>(maker)] || uses.only_user(affine.inputs[0]) != static_cast<int>(i))
        continue;
      Node& layer = node_at(graph, maker);
      if (has_activation(layer) || has_residual(layer)) continue;
      const float* scale = constant_f32(*graph, affine.inputs[1]);
      const float* shift = constant_f32(*graph, affine.inputs[2]);
      if (!scale || !shift) continue;
      if (layer.op == Op::kAffine) {
        const float* s = constant_f32(*graph, layer.inputs[1]);
        const float* t = constant_f32(*graph, layer.inputs[2]);
        const Shape vector = graph->shape(layer.inputs[1]);
        std::vector<float> s2(static_cast<size_t>(vector[0])), t2(s2.size());
        for (size_t c = 0; c < s2.size(); ++c) {
          s2[c] = s[c] * scale[c];
          t2[c] = t[c] * scale[c] + shift[c];
        }
        layer.inputs[1] = add_pass_constant(graph, affine.name + ".scale", vector, std::move(s2));
        node_at(graph, maker).inputs[2] = add_pass_constant(graph, affine.name + ".shift", vector, std::move(t2));
        node_at(graph, maker).attrs = affine.attrs;
      } else if (layer.op == Op::kConv || layer.op == Op::kFullyConnected) {
        const float* w = constant_f32(*graph, layer.inputs[1]);
        const ValueId bias_id = bias_of(layer);
        const float* b = constant_f32(*graph, bias_id);
        if (!w || (bias_id != kNoValue && !b)) continue;
        const Shape& ws = graph->shape(layer.inputs[1]);
        const auto outputs = static_cast<size_t>(ws[0]);
        const size_t each = static_cast<size_t>(element_count(ws)) / outputs;
        std::vector<float> weight(outputs * each), bias(outputs);
        for (size_t o = 0; o < outputs; ++o) {
          for (size_t j = 0; j < each; ++j) weight[o * each + j] = w[o * each + j] * scale[o];
          bias[o] = (b ? b[o] * scale[o] : 0.f) + shift[o];
        }
        set_parameters(graph, &layer, std::move(weight), std::move(bias));
        const Activation act = std::get<AffineAttrs>(affine.attrs).activation;
        if (layer.op == Op::kConv) {
          std::get<ConvAttrs>(node_at(graph, maker).attrs).activation = act;
        } else {
          std::get<FullyConnectedAttrs>(node_at(graph, maker).attrs).activation = act;
        }
      } else {
        continue;
      }
      node_at(graph, maker).outputs = affine.outputs;
      removed[i] = true;
      changed = true;
    }
    erase_nodes(graph, removed);
  }
  return {};
}

Status fold_affine_forward(Graph* graph) {
  const Uses uses(*graph);
  std::vector<bool> removed(graph->nodes.size(), false);
  for (size_t i = 0; i < graph->nodes.size(); ++i) {
    const Node affine = graph->nodes[i];
    if (affine.op != Op::kAffine || has_activation(affine)) continue;
    const int user = uses.only_user(affine.outputs[0]);
    if (user < 0) continue;
    Node& layer = node_at(graph, user);
    if (layer.inputs[0] != affine.outputs[0]) continue;
    int64_t groups = 1;
    if (layer.op == Op::kConv) {
      const auto& a = std::get<ConvAttrs>(layer.attrs);
      if (a.pads != std::array<int32_t, 4>{0, 0, 0, 0})
        continue;  // the padding is zero behind the affine, not in front of it
      groups = a.groups;
    } else if (layer.op != Op::kFullyConnected) {
      continue;
    }
    const float* scale = constant_f32(*graph, affine.inputs[1]);
    const float* shift = constant_f32(*graph, affine.inputs[2]);
    const float* w = constant_f32(*graph, layer.inputs[1]);
    const ValueId bias_id = bias_of(layer);
    const float* b = constant_f32(*graph, bias_id);
    if (!scale || !shift || !w || (bias_id != kNoValue && !b)) continue;
    const Shape ws = graph->shape(layer.inputs[1]);
    const int64_t taps = ws.size() == 4 ? ws[2] * ws[3] : 1;
    std::vector<float> weight(static_cast<size_t>(element_count(ws))), bias(static_cast<size_t>(ws[0]));
    for (int64_t o = 0; o < ws[0]; ++o) {
      double sum = b ? b[o] : 0.0;
      for (int64_t c = 0; c < ws[1]; ++c) {
        const int64_t channel = o / (ws[0] / groups) * ws[1] + c;
        for (int64_t t = 0; t < taps; ++t) {
          const auto at = static_cast<size_t>((o * ws[1] + c) * taps + t);
          weight[at] = w[at] * scale[channel];
          sum += static_cast<double>(w[at]) * shift[channel];
        }
      }
      bias[static_cast<size_t>(o)] = static_cast<float>(sum);
    }
    layer.inputs[0] = affine.inputs[0];
    set_parameters(graph, &layer, std::move(weight), std::move(bias));
    removed[i] = true;
  }
  erase_nodes(graph, removed);
  return {};
}

}  // namespace sparsenet

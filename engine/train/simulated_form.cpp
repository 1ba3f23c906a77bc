#include "train/simulated_form.h"

#include <map>
#include <set>
#include <string>
#include <utility>

#include "graph/integers.h"
#include "graph/ops.h"
#include "graph/training_ops.h"
#include "passes/rewrite.h"
#include "plan/multiplier.h"
#include "train/integer_layer.h"
#include "train/training_form.h"

namespace sparsenet {
namespace {

class Simulation {
 public:
  Simulation(Graph* graph, const std::vector<bool>& trained)
      : graph_(*graph),
        trained_(trained),
        active_(active_values(*graph, trained)),
        real_(graph->values.size(), kNoValue),
        makers_(graph->values.size(), -1) {
    for (const Value& value : graph->values) quantizations_.push_back(value.quantization);
    for (const Node& node : graph->nodes) integers_.push_back(has_integers(*graph, node));
  }

  Status run() {
    nodes_ = std::move(graph_.nodes);
    graph_.nodes.clear();
    find_logits();
    for (size_t i = 0; i < nodes_.size(); ++i) {
      for (ValueId id : nodes_[i].outputs) makers_[static_cast<size_t>(id)] = static_cast<int>(i);
    }
    for (const Node& node : nodes_) {
      if (active_[static_cast<size_t>(node.outputs[0])] && integers_[static_cast<size_t>(&node - nodes_.data())]) {
        SPARSENET_RETURN_IF_ERROR(simulate(node));
      } else {
        graph_.nodes.push_back(node);
      }
    }
    return graph_.infer_shapes();
  }

 private:
  const Quantization& quantization(ValueId id) const { return quantizations_[static_cast<size_t>(id)]; }
  double scale_of(ValueId id) const { return static_cast<double>(quantization(id).scales[0]); }

  // The probabilities are no part of a training: a Softmax at the end stays one that can be removed.
  void find_logits() {
    logits_.insert(graph_.outputs.begin(), graph_.outputs.end());
    for (size_t i = nodes_.size(); i-- > 0;) {
      const Node& node = nodes_[i];
      if (logits_.count(node.outputs[0]) == 0) continue;
      const bool copies = node.op == Op::kDequantize || node.op == Op::kReshape || node.op == Op::kIdentity;
      if (node.op == Op::kSoftmax) final_softmax_ = &node;
      if (copies || node.op == Op::kSoftmax) logits_.insert(node.inputs[0]);
    }
  }

  Node& add(const Node& like, Op op, std::vector<ValueId> inputs, ValueId output, Attrs attrs = NoAttrs{}) {
    Node node;
    node.op = op;
    node.name = like.name;
    node.inputs = std::move(inputs);
    node.outputs = {output};
    node.attrs = std::move(attrs);
    graph_.nodes.push_back(std::move(node));
    return graph_.nodes.back();
  }

  ValueId temporary(const Node& node, const char* what, Shape shape) {
    return add_pass_value(&graph_, node.name + what, std::move(shape));
  }

  // The real numbers that a value stands for.
  ValueId real(ValueId id) {
    const Value& value = graph_.value(id);
    if (value.type == DataType::kFloat32 || value.is_constant) return id;
    ValueId& known = real_[static_cast<size_t>(id)];
    if (known != kNoValue) return known;
    const std::string name = value.name;
    const Shape shape = value.shape;
    Node node;
    if (quantization(id).scales.size() > 1) {  // a concatenation, of which each part has a scale
      node = nodes_[static_cast<size_t>(makers_[static_cast<size_t>(id)])];
      for (ValueId& input : node.inputs) input = real(input);
    } else {
      node.op = Op::kDequantize;
      node.name = name;
      node.inputs = {id};
    }
    const ValueId made = add_pass_value(&graph_, name + ".real", shape);
    node.outputs = {made};
    graph_.nodes.push_back(std::move(node));
    real_[static_cast<size_t>(id)] = made;
    return made;
  }

  // From here on, the value holds real numbers.
  void make_real(ValueId id) {
    graph_.value(id).type = DataType::kFloat32;
    graph_.value(id).quantization = {};
  }

  // What the bounds of an activation are as integers of a value, as real numbers.
  Activation bounds(const Activation& activation, ValueId id) const {
    Value value;
    value.quantization = quantization(id);
    int32_t low = -128, high = 127;
    if (activation.kind != Activation::Kind::kNone) {
      const bool relu = activation.kind == Activation::Kind::kRelu;
      low = integer_of(relu ? 0.f : activation.a, value);
      if (!relu) high = integer_of(activation.b, value);
    }
    const auto number = [&](int32_t integer) {
      return static_cast<float>(scale_of(id) * (integer - quantization(id).zero_points[0]));
    };
    return {Activation::Kind::kClip, number(low), number(high)};
  }

  TrainAttrs rounding(ValueId id) const {
    TrainAttrs a;
    a.alpha = quantization(id).scales[0];
    a.beta = static_cast<float>(quantization(id).zero_points[0]);
    return a;
  }

  // `y` becomes what its integers make of `x`.
  void round(const Node& node, ValueId x, ValueId y, const Activation& activation) {
    TrainAttrs a = rounding(y);
    a.activation = bounds(activation, y);
    add(node, TrainOp::kFakeQuantize, {x}, y, to_attrs(std::move(a)));
  }

  // The same node of real numbers, with a result that is to be rounded.
  ValueId unrounded(Node node) {
    for (ValueId& id : node.inputs) {
      if (id != kNoValue) id = real(id);
    }
    const ValueId x = node.outputs[0] = temporary(node, ".exact", Shape(graph_.shape(node.outputs[0])));
    graph_.nodes.push_back(std::move(node));
    return x;
  }

  void rounded(const Node& node, const Activation& activation = {}) {
    const ValueId x = unrounded(node);
    round(node, x, node.outputs[0], activation);
  }

  // Averages are within the bounds already. They lie on ties often, and float32 does not tell exactly on which side.
  void average(const Node& node) {
    TrainAttrs a = rounding(node.outputs[0]);
    a.epsilon = node.rounding == Rounding::kSingle ? 1.f / 1024 : -1.f / 1024;
    const ValueId x = unrounded(node);
    add(node, TrainOp::kFakeQuantize, {x}, node.outputs[0], to_attrs(std::move(a)));
  }

  // The same node of real numbers, which moves or compares them.
  void exact(Node node) {
    for (ValueId& id : node.inputs) id = real(id);
    graph_.nodes.push_back(std::move(node));
  }

  Status simulate(const Node& node) {
    for (ValueId id : node.outputs) make_real(id);
    const std::vector<ValueId>& in = node.inputs;
    switch (node.op) {
      case Op::kConv:
      case Op::kFullyConnected:
        layer(node);
        return {};
      case Op::kScale:
        scale(node);
        return {};
      case Op::kConcat:
      case Op::kMaxPool:
      case Op::kSplit:
      case Op::kSlice:
      case Op::kPad:
      case Op::kReshape:
      case Op::kTranspose:
      case Op::kIdentity:
        exact(node);
        return {};
      case Op::kDequantize:
        add(node, Op::kIdentity, {real(in[0])}, node.outputs[0]);
        return {};
      case Op::kAveragePool:
        average(node);
        return {};
      case Op::kQuantize:
        round(node, real(in[0]), node.outputs[0], {});
        return {};
      case Op::kRelu:
        round(node, real(in[0]), node.outputs[0], {Activation::Kind::kRelu, 0, 0});
        return {};
      case Op::kClip: {
        const auto& clip = std::get<ClipAttrs>(node.attrs);
        round(node, real(in[0]), node.outputs[0], {Activation::Kind::kClip, clip.low, clip.high});
        return {};
      }
      case Op::kSoftmax:
        if (&node == final_softmax_) {
          exact(node);
          return {};
        }
        [[fallthrough]];
      case Op::kGlobalAveragePool:
      case Op::kAdd:
      case Op::kMul:
      case Op::kSigmoid:
      case Op::kHardSigmoid:
      case Op::kHardSwish:
      case Op::kTanh:
      case Op::kSilu:
        rounded(node);
        return {};
      default:
        return unsupported(describe(node) +
                           ": training cannot simulate its integers; freeze everything in front of it");
    }
  }

  // Weights and biases become the real numbers that they stand for, once.
  void layer(const Node& node) {
    Node conv = node;
    Activation activation;
    if (auto* a = std::get_if<ConvAttrs>(&conv.attrs)) {
      std::swap(activation, a->activation);
    } else {
      std::swap(activation, std::get<FullyConnectedAttrs>(conv.attrs).activation);
    }
    const ValueId weight = node.inputs[1];
    const bool biased = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
    const std::vector<double> scales = weight_scales(quantization(weight), graph_.shape(weight)[0]);
    if (biased) {
      Value& bias = graph_.value(node.inputs[2]);
      bias.constant = real_bias(bias.constant, scale_of(node.inputs[0]), scales);
      make_real(node.inputs[2]);
    }
    conv.inputs[1] = weight_of(node, scales);
    rounded(std::move(conv), activation);
  }

  // The unit in which a trained weight is kept. With it, a weight makes values of the size of the output's range of
  // values of the size of the input's, so that the size of its gradient, and with it the learning rate that suits it,
  // does not depend on what the network's numbers stand for. The loss gives logits a size of their own.
  float unit_of(const Node& layer) const {
    constexpr double kUsualSteps = 64;  // a quarter of the range
    const ValueId y = layer.outputs[0];
    const double out = logits_.count(y) > 0 ? 1. : kUsualSteps * scale_of(y);
    return static_cast<float>(out / (kUsualSteps * scale_of(layer.inputs[0])));
  }

  // What the layer reads in place of its weight.
  ValueId weight_of(const Node& node, const std::vector<double>& scales) {
    const ValueId id = node.inputs[1];
    const auto known = weights_.find(id);
    if (known != weights_.end()) return known->second;
    const Tensor integers = graph_.value(id).constant;
    ValueId result = kNoValue;
    if (trained_[static_cast<size_t>(id)]) {
      std::vector<float> most = most_of_rows(integers, quantization(id).scales.size());
      const auto rows = static_cast<int64_t>(most.size());
      const ValueId steps = add_pass_constant(&graph_, node.name + ".most", {rows}, std::move(most));
      TrainAttrs a;
      a.alpha = unit_of(node);
      std::vector<double> in_unit = scales;
      for (double& scale : in_unit) scale /= static_cast<double>(a.alpha);
      graph_.value(id).constant = real_weight(integers, in_unit);
      make_real(id);
      result = temporary(node, ".rounded", Shape(graph_.shape(id)));
      add(node, TrainOp::kRoundWeight, {id, steps}, result, to_attrs(std::move(a)));
    } else {  // layers that are not simulated may read it, too
      const std::string name = graph_.value(id).name + "#" + std::to_string(graph_.values.size());
      result = graph_.add_constant(name, real_weight(integers, scales));
    }
    weights_[id] = result;
    return result;
  }

  // A batch normalisation with nothing to normalise, whose scale and shift can be trained; the bounds of its integers
  // are an activation that belongs to it.
  void scale(const Node& node) {
    const ValueId y = node.outputs[0];
    const Shape channels = graph_.shape(node.inputs[1]);
    const ValueId zeros = constant(&zeros_, channels, 0.f), ones = constant(&ones_, channels, 1.f);
    const ValueId x = real(node.inputs[0]);
    const ValueId affine = temporary(node, ".affine", Shape(graph_.shape(y)));
    const ValueId bounded = temporary(node, ".bounded", Shape(graph_.shape(y)));
    BatchNormAttrs attrs;
    attrs.epsilon = 0.f;
    add(node, Op::kBatchNorm, {x, node.inputs[1], node.inputs[2], zeros, ones}, affine, attrs);
    const Activation clip = bounds({}, y);
    add(node, Op::kClip, {affine}, bounded, ClipAttrs{clip.a, clip.b});
    add(node, TrainOp::kFakeQuantize, {bounded}, y, to_attrs(rounding(y)));
  }

  // A constant with the same number for every channel, one for each number of channels.
  ValueId constant(std::map<int64_t, ValueId>* known, const Shape& channels, float value) {
    const int64_t count = element_count(channels);
    const auto found = known->find(count);
    if (found != known->end()) return found->second;
    const ValueId made = add_pass_constant(&graph_, value == 0.f ? "zero" : "one", Shape(channels),
                                           std::vector<float>(static_cast<size_t>(count), value));
    (*known)[count] = made;
    return made;
  }

  Graph& graph_;
  const std::vector<bool>& trained_;
  std::vector<bool> active_;
  std::vector<ValueId> real_;                // by value: where its real numbers are, if it stays integers
  std::vector<int> makers_;                  // by value: the node that makes it
  std::vector<Quantization> quantizations_;  // by value, as they were
  std::vector<Node> nodes_;                  // as they were
  std::vector<bool> integers_;               // by node: whether it computes with integers
  std::map<ValueId, ValueId> weights_;       // what layers read in place of a weight
  std::map<int64_t, ValueId> zeros_, ones_;  // by number of channels
  std::set<ValueId> logits_;                 // the values that are the outputs, in front of a Softmax and behind it
  const Node* final_softmax_ = nullptr;
};

}  // namespace

void separate_biases(Graph* graph) {
  std::vector<int> readers(graph->values.size(), 0);
  for (Node& node : graph->nodes) {
    const bool layer = node.op == Op::kConv || node.op == Op::kFullyConnected;
    if (!layer || node.inputs.size() < 3 || node.inputs[2] == kNoValue) continue;
    const ValueId id = node.inputs[2];
    if (graph->value(id).type != DataType::kInt32 || readers[static_cast<size_t>(id)]++ == 0) continue;
    Value copy = graph->value(id);
    node.inputs[2] = static_cast<ValueId>(graph->values.size());
    copy.name += "#" + std::to_string(node.inputs[2]);
    graph->values.push_back(std::move(copy));
    readers.push_back(1);
  }
}

std::vector<float> weight_units(const Graph& simulated) {
  std::vector<float> units(simulated.values.size(), 1.f);
  for (const Node& node : simulated.nodes) {
    if (node.op == TrainOp::kRoundWeight) units[static_cast<size_t>(node.inputs[0])] = train_attrs(node).alpha;
  }
  return units;
}

Status simulate_integers(Graph* graph, const std::vector<bool>& trained) {
  return Simulation(graph, trained).run();
}

}  // namespace sparsenet

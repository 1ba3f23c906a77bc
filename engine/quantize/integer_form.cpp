#include "quantize/integer_form.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <utility>

#include "base/name_pattern.h"
#include "graph/ops.h"

namespace sparsenet {
namespace {

class IntegerForm {
 public:
  IntegerForm(const Graph& graph, const std::vector<Range>& ranges, std::vector<bool> kept, QuantizeReport* report)
      : graph_(graph), ranges_(ranges), report_(*report), ids_(graph.values.size()), kept_(std::move(kept)) {}

  Result<Graph> run() {
    find_consumers();
    for (const Value& value : graph_.values) value_names_.insert(value.name);
    for (ValueId id : graph_.inputs) {
      of(id).real = out_.add_input(graph_.value(id).name, graph_.shape(id));
    }
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      const char* reason = kept_[i] ? "asked for" : reason_for_float(node);
      if (reason) {
        report_.kept_float.push_back(describe(node) + ": " + reason);
        make_real(node);
      } else {
        make_integers(node);
      }
    }
    for (ValueId id : graph_.outputs) out_.outputs.push_back(real(id));
    if (report_.integer_nodes == 0) return unsupported("quantisation: no layer of this network has an int8 form");
    SPARSENET_RETURN_IF_ERROR(out_.infer_shapes());
    return std::move(out_);
  }

 private:
  // Where a value of the float network is in the new one.
  struct Ids {
    ValueId real = kNoValue, integer = kNoValue;
  };
  Ids& of(ValueId id) { return ids_[static_cast<size_t>(id)]; }

  void find_consumers() {
    consumers_.resize(graph_.values.size());
    by_channel_.assign(graph_.values.size(), -1);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      for (ValueId id : graph_.nodes[i].inputs) {
        if (id != kNoValue) consumers_[static_cast<size_t>(id)].push_back(i);
      }
    }
    for (ValueId id : graph_.outputs) consumers_[static_cast<size_t>(id)].push_back(SIZE_MAX);
  }

  // Whether everything that reads the value takes a scale of its own for every channel.
  bool read_by_channel(ValueId id) {
    int& known = by_channel_[static_cast<size_t>(id)];
    if (known < 0) known = all_read_by_channel(id) ? 1 : 0;
    return known == 1;
  }
  bool all_read_by_channel(ValueId id) {
    const std::vector<size_t>& readers = consumers_[static_cast<size_t>(id)];
    return std::all_of(readers.begin(), readers.end(), [&](size_t i) {
      if (i == SIZE_MAX || kept_[i]) return false;
      const Node& node = graph_.nodes[i];
      if (reason_for_float(node)) return false;
      if (node.op == Op::kAffine) return true;
      return node.op == Op::kConcat && std::get<AxisAttrs>(node.attrs).axis == 1 && read_by_channel(node.outputs[0]);
    });
  }

  bool constant_reals(const Node& node, size_t from) const {
    for (size_t i = from; i < node.inputs.size(); ++i) {
      if (node.inputs[i] == kNoValue) continue;
      const Value& v = graph_.value(node.inputs[i]);
      if (!v.is_constant || (v.type != DataType::kFloat32 && v.type != DataType::kFloat16)) return false;
    }
    return true;
  }

  bool finite_reals(const Node& node, size_t from) const {
    for (size_t i = from; i < node.inputs.size(); ++i) {
      if (node.inputs[i] == kNoValue) continue;
      for (const float v : to_float32(graph_.value(node.inputs[i]).constant)) {
        if (!std::isfinite(v)) return false;
      }
    }
    return true;
  }

  // Null if the node has an int8 form.
  const char* reason_for_float(const Node& node) const {
    switch (node.op) {
      case Op::kConv:
      case Op::kFullyConnected:
      case Op::kAffine:
        if (graph_.value(node.inputs[0]).is_constant) return "its input is a constant";
        if (node.inputs.size() > 3 && node.inputs[3] != kNoValue) return "it has a residual";
        if (!constant_reals(node, 1)) return "its parameters are computed";
        return finite_reals(node, 1) ? nullptr : "its parameters are not finite";
      case Op::kAdd:
      case Op::kMul:
      case Op::kConcat:
      case Op::kMaxPool:
      case Op::kAveragePool:
      case Op::kGlobalAveragePool:
      case Op::kRelu:
      case Op::kClip:
      case Op::kSigmoid:
      case Op::kHardSigmoid:
      case Op::kHardSwish:
      case Op::kTanh:
      case Op::kSilu:
      case Op::kReshape:
      case Op::kTranspose:
      case Op::kSlice:
      case Op::kSplit:
      case Op::kIdentity:
        for (ValueId id : node.inputs) {
          if (graph_.value(id).is_constant) return "an operand is a constant";
        }
        return nullptr;
      default:
        return "no int8 form";
    }
  }

  static bool keeps_scale(Op op) {
    return op == Op::kMaxPool || op == Op::kAveragePool || op == Op::kReshape || op == Op::kTranspose ||
           op == Op::kSlice || op == Op::kSplit || op == Op::kIdentity;
  }

  const Quantization& quantization(ValueId new_id) const { return out_.value(new_id).quantization; }

  void quantize_output(ValueId new_id, Quantization q) {
    out_.value(new_id).type = DataType::kInt8;
    out_.value(new_id).quantization = std::move(q);
  }

  // A finer scale than `finest` would show nothing more, and could leave 32 bits.
  Quantization own_quantization(ValueId id, double finest = 0) const {
    Range range = ranges_[static_cast<size_t>(id)];
    range.high = std::max(range.high, range.low + 255 * static_cast<float>(finest));
    return quantization_for(range);
  }

  // What the integers of a node's result are multiples of.
  double finest_scale(const Node& node, const std::vector<ValueId>& inputs) const {
    const auto scale = [&](size_t i) { return static_cast<double>(quantization(inputs[i]).scales[0]); };
    switch (node.op) {
      case Op::kRelu:
      case Op::kClip:
        return scale(0);
      case Op::kMul:
        return scale(0) * scale(1);
      case Op::kGlobalAveragePool: {
        const Shape& s = graph_.shape(node.inputs[0]);
        return scale(0) / static_cast<double>(s[2] * s[3]);
      }
      default:
        return 0;
    }
  }

  bool is_output(ValueId id) const {
    return std::find(graph_.outputs.begin(), graph_.outputs.end(), id) != graph_.outputs.end();
  }
  // An output of the graph keeps its name, which is then that of its real numbers. Other values take that of their
  // node, which files then store once.
  std::string integer_name(ValueId id, const Node& node) {
    if (is_output(id)) return graph_.value(id).name + ".int8";
    return names_.insert(node.name).second && !is_value(node.name) ? node.name : graph_.value(id).name;
  }
  std::string constant_name(const Node& node, const char* what) {
    std::string name = node.name + what;
    while (is_value(name) || !names_.insert(name).second) name += "#" + std::to_string(out_.values.size());
    return name;
  }
  bool is_value(const std::string& name) const { return value_names_.count(name) != 0; }

  ValueId real(ValueId id) {
    Ids& ids = of(id);
    if (ids.real != kNoValue) return ids.real;
    const Value& value = graph_.value(id);
    if (value.is_constant) {
      ids.real = out_.add_constant(value.name, value.constant);
    } else {
      const std::string name = value.name + (is_output(id) ? "" : ".real");
      ids.real = out_.add_node(Op::kDequantize, name, {ids.integer}, NoAttrs{}, name);
    }
    return ids.real;
  }

  ValueId integer(ValueId id) {
    Ids& ids = of(id);
    if (ids.integer == kNoValue) {
      const std::string name = graph_.value(id).name + ".int8";
      ids.integer = out_.add_node(Op::kQuantize, name, {ids.real}, NoAttrs{}, name);
      quantize_output(ids.integer, own_quantization(id));
    }
    return ids.integer;
  }

  // The value with exactly this scale and zero point.
  ValueId integer_as(ValueId id, const Quantization& q) {
    const ValueId there = integer(id);
    if (quantization(there).scales == q.scales && quantization(there).zero_points == q.zero_points) return there;
    const std::string name = graph_.value(id).name + ".as#" + std::to_string(out_.values.size());
    const ValueId as = out_.add_node(Op::kQuantize, name, {there}, NoAttrs{}, name);
    quantize_output(as, q);
    return as;
  }

  // The node as it is. An Affine cannot be stored: it becomes the batch normalisation that it may have been.
  void make_real(const Node& node) {
    ++report_.float_nodes;
    std::vector<ValueId> inputs;
    for (ValueId id : node.inputs) inputs.push_back(id == kNoValue ? kNoValue : real(id));
    std::vector<std::string> names;
    for (ValueId id : node.outputs) names.push_back(graph_.value(id).name);
    std::vector<ValueId> made;
    if (node.op == Op::kAffine) {
      made = {add_batch_norm(node, inputs, names[0])};
    } else {
      made = out_.add_node_multi(node.op, node.name, std::move(inputs), node.attrs, names);
    }
    for (size_t i = 0; i < made.size(); ++i) of(node.outputs[i]).real = made[i];
  }

  ValueId add_batch_norm(const Node& node, const std::vector<ValueId>& inputs, const std::string& name) {
    const Shape channels = graph_.shape(node.inputs[1]);
    const std::string at = "#" + std::to_string(out_.values.size());
    const ValueId mean = out_.add_constant(node.name + ".mean" + at, Tensor::filled(channels, 0.f));
    const ValueId variance = out_.add_constant(node.name + ".variance" + at, Tensor::filled(channels, 1.f));
    const Activation& activation = std::get<AffineAttrs>(node.attrs).activation;
    const bool relu = activation.kind == Activation::Kind::kRelu;
    BatchNormAttrs attrs;
    attrs.epsilon = 0.f;
    const ValueId y = out_.add_node(Op::kBatchNorm, node.name, {inputs[0], inputs[1], inputs[2], mean, variance}, attrs,
                                    relu ? name + ".linear" : name);
    return relu ? out_.add_node(Op::kRelu, node.name, {y}, NoAttrs{}, name) : y;
  }

  void make_integers(const Node& node) {
    ++report_.integer_nodes;
    switch (node.op) {
      case Op::kConv:
      case Op::kFullyConnected:
        return make_layer(node);
      case Op::kAffine:
        return make_scale(node);
      case Op::kConcat:
        return make_concat(node);
      default:
        break;
    }
    std::vector<ValueId> inputs;
    for (ValueId id : node.inputs) inputs.push_back(integer(id));
    std::vector<std::string> names;
    for (ValueId id : node.outputs) names.push_back(integer_name(id, node));
    const Quantization of_input = quantization(inputs[0]);
    const double finest = finest_scale(node, inputs);
    const std::vector<ValueId> made = out_.add_node_multi(node.op, node.name, std::move(inputs), node.attrs, names);
    for (size_t i = 0; i < made.size(); ++i) {
      quantize_output(made[i], keeps_scale(node.op) ? of_input : own_quantization(node.outputs[i], finest));
      of(node.outputs[i]).integer = made[i];
    }
  }

  void make_concat(const Node& node) {
    std::vector<ValueId> inputs;
    Quantization q;
    const bool by_channel = std::get<AxisAttrs>(node.attrs).axis == 1 && read_by_channel(node.outputs[0]);
    if (!by_channel) q = own_quantization(node.outputs[0]);
    for (ValueId id : node.inputs) inputs.push_back(by_channel ? integer(id) : integer_as(id, q));
    const ValueId y =
        out_.add_node(Op::kConcat, node.name, std::move(inputs), node.attrs, integer_name(node.outputs[0], node));
    quantize_output(y, std::move(q));  // infer_shapes() fills in those of channels
    of(node.outputs[0]).integer = y;
  }

  void make_scale(const Node& node) {
    std::vector<ValueId> inputs{integer(node.inputs[0])};
    for (const size_t k : {size_t{1}, size_t{2}}) {
      const ValueId id = node.inputs[k];
      const bool shared = consumers_[static_cast<size_t>(id)].size() > 1;
      inputs.push_back(
          shared ? real(id)
                 : out_.add_constant(constant_name(node, k == 1 ? ".scale" : ".shift"), graph_.value(id).constant));
    }
    const ValueId y =
        out_.add_node(Op::kScale, node.name, std::move(inputs), NoAttrs{}, integer_name(node.outputs[0], node));
    quantize_output(y, own_quantization(node.outputs[0]));
    of(node.outputs[0]).integer = y;
  }

  void make_layer(const Node& node) {
    const ValueId x = integer(node.inputs[0]);
    const Value& weight = graph_.value(node.inputs[1]);
    const std::vector<float> w = to_float32(weight.constant);
    const auto outputs = static_cast<size_t>(weight.shape[0]);
    const size_t per_output = w.size() / outputs;
    std::vector<float> b(outputs, 0.f);
    const bool biased = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
    if (biased) b = to_float32(graph_.value(node.inputs[2]).constant);
    const auto x_scale = static_cast<double>(quantization(x).scales[0]);
    Quantization of_weight;
    std::vector<int8_t> weights(w.size());
    std::vector<int32_t> bias(outputs);
    for (size_t o = 0; o < outputs; ++o) {
      float largest = 0.f;
      for (size_t i = 0; i < per_output; ++i) largest = std::max(largest, std::abs(w[o * per_output + i]));
      // A bias far beyond the weights must fit, too.
      const double least = std::abs(static_cast<double>(b[o])) / (x_scale * (1 << 29));
      const double scale = std::max({static_cast<double>(largest) / 127, least, 1e-30});
      of_weight.scales.push_back(static_cast<float>(scale));
      const double used = static_cast<double>(of_weight.scales.back());
      for (size_t i = 0; i < per_output; ++i) {
        const double v = std::round(static_cast<double>(w[o * per_output + i]) / used);
        weights[o * per_output + i] = static_cast<int8_t>(std::clamp(v, -127., 127.));
      }
      bias[o] = static_cast<int32_t>(std::round(static_cast<double>(b[o]) / (x_scale * used)));
    }
    of_weight.zero_points.assign(outputs, 0);
    const float finest = *std::max_element(of_weight.scales.begin(), of_weight.scales.end());
    const Quantization q = own_quantization(node.outputs[0], x_scale * static_cast<double>(finest));
    const ValueId weight_id =
        out_.add_constant(constant_name(node, ".w"), tensor_of(DataType::kInt8, weight.shape, std::move(weights)));
    out_.value(weight_id).quantization = std::move(of_weight);
    const ValueId bias_id = out_.add_constant(
        constant_name(node, ".b"), tensor_of(DataType::kInt32, {static_cast<int64_t>(outputs)}, std::move(bias)));
    const ValueId y =
        out_.add_node(node.op, node.name, {x, weight_id, bias_id}, node.attrs, integer_name(node.outputs[0], node));
    quantize_output(y, q);
    of(node.outputs[0]).integer = y;
  }

  template <class T>
  static Tensor tensor_of(DataType type, Shape shape, std::vector<T> values) {
    Tensor tensor;
    tensor.type = type;
    tensor.shape = std::move(shape);
    auto owner = std::make_shared<std::vector<T>>(std::move(values));
    tensor.data = owner->data();
    tensor.owner = std::move(owner);
    return tensor;
  }

  const Graph& graph_;
  const std::vector<Range>& ranges_;
  QuantizeReport& report_;
  std::vector<Ids> ids_;
  std::vector<bool> kept_;                               // by node
  std::vector<int> by_channel_;                          // by value: what read_by_channel() found; -1: nothing yet
  std::vector<std::vector<size_t>> consumers_;           // by value: nodes; SIZE_MAX: an output of the graph
  std::unordered_set<std::string> value_names_, names_;  // of the float graph; of nodes that gave a value its name
  Graph out_;
};

}  // namespace

Result<std::vector<bool>> find_nodes(const Graph& graph, const std::vector<std::string>& patterns) {
  std::vector<bool> found(graph.nodes.size(), false);
  for (const std::string& pattern : patterns) {
    bool any = false;
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      if (!matches(pattern, graph.nodes[i].name)) continue;
      found[i] = any = true;
    }
    if (!any) return invalid_argument("keep_float: no node is named '" + pattern + "'");
  }
  return found;
}

Result<Graph> make_integer_form(const Graph& graph, const std::vector<Range>& ranges, std::vector<bool> kept,
                                QuantizeReport* report) {
  return IntegerForm(graph, ranges, std::move(kept), report).run();
}

}  // namespace sparsenet

#include "graph/integers.h"

#include <algorithm>

#include "graph/ops.h"

namespace sparsenet {

const char* name(Rounding rounding) {
  return rounding == Rounding::kDouble ? "double" : "single";
}

bool has_integers(const Graph& graph, const Node& node) {
  const auto integer = [&](ValueId id) {
    return id != kNoValue && !graph.value(id).is_constant && graph.value(id).type != DataType::kFloat32;
  };
  return std::any_of(node.inputs.begin(), node.inputs.end(), integer) ||
         std::any_of(node.outputs.begin(), node.outputs.end(), integer);
}

bool has_integers(const Graph& graph) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(),
                     [&](const Node& node) { return has_integers(graph, node); });
}

namespace {

// The checks of one node.
class TypeChecker {
 public:
  TypeChecker(const Graph& graph, const Node& node) : graph_(graph), node_(node) {}

  Status check() const {
    switch (node_.op) {
      case Op::kConv:
      case Op::kFullyConnected:
        SPARSENET_RETURN_IF_ERROR(is_int8(node_.inputs[0], "input"));
        SPARSENET_RETURN_IF_ERROR(is_int8(node_.outputs[0], "output"));
        return parameters();
      case Op::kConcat:
        if (std::get<AxisAttrs>(node_.attrs).axis == 1 && scales_of(node_.outputs[0]) > 1) return channels_fit();
        SPARSENET_RETURN_IF_ERROR(all_int8());
        return same_quantization();
      case Op::kScale:
        SPARSENET_RETURN_IF_ERROR(is_channelwise_int8(node_.inputs[0], "input"));
        for (size_t i = 1; i < 3; ++i) {
          const Value& v = graph_.value(node_.inputs[i]);
          const bool real = v.type == DataType::kFloat32 || v.type == DataType::kFloat16;
          if (!v.is_constant || !real) return wrong("parameter", node_.inputs[i], "a constant of real numbers");
        }
        return is_int8(node_.outputs[0], "output");
      case Op::kMaxPool:
      case Op::kAveragePool:
      case Op::kSplit:
      case Op::kSlice:
      case Op::kPad:
      case Op::kReshape:
      case Op::kTranspose:
      case Op::kIdentity:
        SPARSENET_RETURN_IF_ERROR(all_int8());
        return same_quantization();
      case Op::kAdd:
      case Op::kSub:
      case Op::kMul:
        return operands();
      case Op::kGlobalAveragePool:
      case Op::kRelu:
      case Op::kClip:
      case Op::kSigmoid:
      case Op::kHardSigmoid:
      case Op::kHardSwish:
      case Op::kTanh:
      case Op::kSilu:
      case Op::kLeakyRelu:
      case Op::kElu:
      case Op::kSoftmax:
        return all_int8();
      case Op::kQuantize:
        if (type(node_.inputs[0]) == DataType::kUInt8) {
          SPARSENET_RETURN_IF_ERROR(is_quantized(node_.inputs[0], "input"));
        } else if (type(node_.inputs[0]) != DataType::kFloat32) {
          SPARSENET_RETURN_IF_ERROR(is_int8(node_.inputs[0], "input"));
        }
        return is_int8(node_.outputs[0], "output");
      case Op::kDequantize:
        SPARSENET_RETURN_IF_ERROR(is_int8(node_.inputs[0], "input"));
        if (type(node_.outputs[0]) == DataType::kFloat32) return {};
        return wrong("output", node_.outputs[0], "float32");
      default:
        return refuse("this op computes with float32 only, found " + found(first_integer()));
    }
  }

 private:
  DataType type(ValueId id) const { return graph_.value(id).type; }
  std::string found(ValueId id) const {
    const Value& value = graph_.value(id);
    return "'" + value.name + "' of " + name(value.type);
  }
  Status refuse(const std::string& reason) const { return unsupported(describe(node_) + ": " + reason); }
  Status wrong(const char* what, ValueId id, const std::string& expected) const {
    return refuse(std::string(what) + ": expected " + expected + ", found " + found(id));
  }

  ValueId first_integer() const {
    for (const std::vector<ValueId>* ids : {&node_.inputs, &node_.outputs}) {
      for (ValueId id : *ids) {
        if (id != kNoValue && !graph_.value(id).is_constant && type(id) != DataType::kFloat32) return id;
      }
    }
    return node_.outputs[0];
  }

  Status is_quantized(ValueId id, const char* what) const {
    const size_t scales = graph_.value(id).quantization.scales.size();
    if (scales == 1) return {};
    return refuse(std::string(what) + " '" + graph_.value(id).name + "': expected one scale and zero point, found " +
                  std::to_string(scales));
  }

  Status is_int8(ValueId id, const char* what) const {
    if (type(id) != DataType::kInt8) return wrong(what, id, "int8");
    if (graph_.value(id).is_constant) return wrong(what, id, "a computed value");
    return is_quantized(id, what);
  }

  size_t scales_of(ValueId id) const { return graph_.value(id).quantization.scales.size(); }

  // One scale and zero point, or one for each channel.
  Status is_channelwise_int8(ValueId id, const char* what) const {
    if (scales_of(id) <= 1) return is_int8(id, what);
    if (type(id) != DataType::kInt8) return wrong(what, id, "int8");
    if (graph_.value(id).is_constant) return wrong(what, id, "a computed value");
    if (graph_.value(id).quantization.axis == 1) return {};
    return refuse(std::string(what) + " '" + graph_.value(id).name +
                  "': expected one scale, or one per channel (axis 1)");
  }

  // Whether every channel of a Concat has the scale and zero point of the channel that it comes from.
  Status channels_fit() const {
    SPARSENET_RETURN_IF_ERROR(is_channelwise_int8(node_.outputs[0], "output"));
    const Quantization& out = graph_.value(node_.outputs[0]).quantization;
    size_t channel = 0;
    for (ValueId id : node_.inputs) {
      SPARSENET_RETURN_IF_ERROR(is_channelwise_int8(id, "input"));
      const Value& value = graph_.value(id);
      const Quantization& q = value.quantization;
      for (int64_t c = 0; c < value.shape[1]; ++c, ++channel) {
        const size_t from = q.scales.size() > 1 ? static_cast<size_t>(c) : 0;
        if (channel < out.scales.size() && q.scales[from] == out.scales[channel] &&
            q.zero_points[from] == out.zero_points[channel]) {
          continue;
        }
        return refuse("output: channel " + std::to_string(channel) + ": expected the scale and zero point of '" +
                      value.name + "'");
      }
    }
    return {};
  }

  Status all_int8() const {
    for (ValueId id : node_.inputs) SPARSENET_RETURN_IF_ERROR(is_int8(id, "input"));
    for (ValueId id : node_.outputs) SPARSENET_RETURN_IF_ERROR(is_int8(id, "output"));
    return {};
  }

  // One of two operands may be a constant.
  Status operands() const {
    const bool both = graph_.value(node_.inputs[0]).is_constant && graph_.value(node_.inputs[1]).is_constant;
    for (ValueId id : node_.inputs) {
      if (!graph_.value(id).is_constant || both) {
        SPARSENET_RETURN_IF_ERROR(is_int8(id, "input"));
      } else {
        if (type(id) != DataType::kInt8) return wrong("input", id, "int8");
        SPARSENET_RETURN_IF_ERROR(is_quantized(id, "input"));
      }
    }
    return is_int8(node_.outputs[0], "output");
  }

  Status same_quantization() const {
    const Quantization& first = graph_.value(node_.inputs[0]).quantization;
    for (const std::vector<ValueId>* ids : {&node_.inputs, &node_.outputs}) {
      for (ValueId id : *ids) {
        const Quantization& q = graph_.value(id).quantization;
        if (q.scales == first.scales && q.zero_points == first.zero_points) continue;
        return refuse("expected the same scale and zero point for '" + graph_.value(node_.inputs[0]).name + "' and '" +
                      graph_.value(id).name + "', found " + text(first) + " and " + text(q));
      }
    }
    return {};
  }

  static std::string text(const Quantization& q) {
    return std::to_string(q.scales[0]) + ", " + std::to_string(q.zero_points[0]);
  }

  Status parameters() const {
    const ValueId weight_id = node_.inputs[1];
    const Value& weight = graph_.value(weight_id);
    if (!weight.is_constant || weight.type != DataType::kInt8) return wrong("weight", weight_id, "constant int8");
    const Quantization& q = weight.quantization;
    const size_t scales = q.scales.size();
    if (scales == 0 || (scales > 1 && q.axis != 0)) {
      return refuse("weight '" + weight.name + "': expected one scale, or one per output (axis 0)");
    }
    const auto zero = [](int32_t z) { return z == 0; };
    if (!std::all_of(q.zero_points.begin(), q.zero_points.end(), zero)) {
      return refuse("weight '" + weight.name + "': expected zero point 0");
    }
    if (node_.inputs.size() > 2 && node_.inputs[2] != kNoValue) {
      const Value& bias = graph_.value(node_.inputs[2]);
      if (!bias.is_constant || bias.type != DataType::kInt32) return wrong("bias", node_.inputs[2], "constant int32");
    }
    if (node_.inputs.size() > 3 && node_.inputs[3] != kNoValue) return refuse("a residual of int8: expected an Add");
    const auto* conv = std::get_if<ConvAttrs>(&node_.attrs);
    const Activation::Kind kind =
        conv ? conv->activation.kind : std::get<FullyConnectedAttrs>(node_.attrs).activation.kind;
    if (kind != Activation::Kind::kNone && kind != Activation::Kind::kRelu && kind != Activation::Kind::kClip) {
      return refuse("fused activation: expected Relu, Clip or none");
    }
    return {};
  }

  const Graph& graph_;
  const Node& node_;
};

}  // namespace

Status check_types(const Graph& graph) {
  for (const Value& value : graph.values) {
    if (value.is_constant || value.type == DataType::kFloat32 || value.type == DataType::kInt8) continue;
    if (value.type == DataType::kUInt8 && !value.quantization.empty()) continue;
    return unsupported("value '" + value.name + "': expected float32 or int8, found " + name(value.type) +
                       ", which this version does not compute with");
  }
  for (const Node& node : graph.nodes) {
    if (has_integers(graph, node)) SPARSENET_RETURN_IF_ERROR(TypeChecker(graph, node).check());
  }
  for (const std::vector<ValueId>* ports : {&graph.inputs, &graph.outputs}) {
    for (ValueId id : *ports) {
      const Value& value = graph.value(id);
      const bool integers = value.type == DataType::kInt8 || value.type == DataType::kUInt8;
      if (value.is_constant || !integers || value.quantization.scales.size() == 1) continue;
      return unsupported("value '" + value.name +
                         "': expected one scale and zero point for an input or output, found " +
                         std::to_string(value.quantization.scales.size()));
    }
  }
  return {};
}

}  // namespace sparsenet

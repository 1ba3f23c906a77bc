#include "converter/integer_graph.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "converter/graph_writer.h"

namespace sparsenet::converter {
namespace {

bool same(const Quantization& a, const Quantization& b) {
  return a.scales == b.scales && a.zero_points == b.zero_points;
}

double scale_of(const Quantization& q) {
  return static_cast<double>(q.scales[0]);
}

// Whether the integers of one quantisation can be brought to another.
bool can_requantize(const Quantization& from, const Quantization& to) {
  return fits_multiplier(255, scale_of(from) / scale_of(to));
}

bool only_moves(Op op) {
  return op == Op::kReshape || op == Op::kTranspose || op == Op::kSlice || op == Op::kSplit || op == Op::kIdentity;
}

class IntegerGraph {
 public:
  IntegerGraph(Graph* graph, const IntegerConstants& constants, Report* report)
      : graph_(*graph), constants_(constants), report_(*report) {
    for (const Value& value : graph_.values) names_.insert(value.name);
  }

  void run() {
    readers_ = find_readers(graph_);
    removed_.assign(graph_.nodes.size(), false);
    integers_.assign(graph_.values.size(), kNoValue);
    alias_.assign(graph_.values.size(), kNoValue);
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      if (!removed_[n]) visit(n);
    }
    graph_.nodes = std::move(made_);
    remove_unused(&graph_);
    tell();
  }

 private:
  const Quantization& quantization(ValueId id) const { return graph_.value(id).quantization; }
  bool is_output(ValueId id) const {
    return std::find(graph_.outputs.begin(), graph_.outputs.end(), id) != graph_.outputs.end();
  }
  bool is_float(ValueId id) const { return graph_.value(id).type == DataType::kFloat32; }

  ValueId add_int8(const std::string& base, const Shape& shape, const Quantization& q) {
    Value value;
    value.name = base;
    for (int i = 1; !names_.insert(value.name).second; ++i) value.name = base + "." + std::to_string(i);
    value.type = DataType::kInt8;
    value.shape = shape;
    value.quantization = q;
    graph_.values.push_back(std::move(value));
    integers_.push_back(kNoValue);
    alias_.push_back(kNoValue);
    return static_cast<ValueId>(graph_.values.size()) - 1;
  }

  void visit(size_t n) {
    Node node = std::move(graph_.nodes[n]);
    bool on_integers = false, reads_integers = false;
    for (ValueId& id : node.inputs) {
      if (id == kNoValue) continue;
      if (alias_[static_cast<size_t>(id)] != kNoValue) id = alias_[static_cast<size_t>(id)];
      on_integers = on_integers || integers_[static_cast<size_t>(id)] != kNoValue;
      reads_integers = reads_integers || !is_float(id);
    }
    if (node.op == Op::kDequantize) {
      integers_[static_cast<size_t>(node.outputs[0])] = node.inputs[0];
    } else if (node.op == Op::kQuantize) {
      return visit_quantize(std::move(node));
    } else if (on_integers && !reads_integers) {
      if (can_sink(node)) return sink(std::move(node));
      const std::string reason = fold(&node);
      if (reason.empty()) return;
      report_.note(std::string(name(node.op)) + " '" + printable(node.name) + "' computes in float32: " + reason);
    }
    made_.push_back(std::move(node));
  }

  // Behind a Dequantize it goes from integers to integers, or does nothing.
  void visit_quantize(Node node) {
    const ValueId from = integers_[static_cast<size_t>(node.inputs[0])], out = node.outputs[0];
    if (from != kNoValue && same(quantization(from), quantization(out)) && !is_output(out)) {
      alias_[static_cast<size_t>(out)] = from;
      return;
    }
    if (from != kNoValue && can_requantize(quantization(from), quantization(out))) node.inputs[0] = from;
    made_.push_back(std::move(node));
  }

  // The integers of all operands, if each is what a Dequantize makes; else empty.
  std::vector<ValueId> integer_operands(const Node& node) const {
    std::vector<ValueId> out;
    for (const ValueId id : node.inputs) {
      const ValueId integer = id == kNoValue ? kNoValue : integers_[static_cast<size_t>(id)];
      if (integer == kNoValue) return {};
      out.push_back(integer);
    }
    return out;
  }

  // Whether the node does to integers what it does to the numbers that they stand for.
  bool can_sink(const Node& node) const {
    const std::vector<ValueId> operands = integer_operands(node);
    if (operands.empty()) return false;
    const Quantization& q = quantization(operands[0]);
    if (node.op == Op::kPad) {
      const double value = static_cast<double>(std::get<PadAttrs>(node.attrs).value);
      const double integer = std::round(value / scale_of(q)) + q.zero_points[0];
      const bool exact = static_cast<float>((integer - q.zero_points[0]) * scale_of(q)) == static_cast<float>(value);
      return exact && integer >= -128 && integer <= 127;
    }
    if (node.op == Op::kConcat) {
      return std::all_of(operands.begin(), operands.end(), [&](ValueId id) { return same(quantization(id), q); });
    }
    return only_moves(node.op) || node.op == Op::kMaxPool;
  }

  // Puts the Dequantize behind the node.
  void sink(Node node) {
    const std::vector<ValueId> outputs = node.outputs;
    node.inputs = integer_operands(node);
    const Quantization q = quantization(node.inputs[0]);
    for (ValueId& id : node.outputs) id = add_int8(graph_.value(id).name + ".int8", graph_.shape(id), q);
    for (size_t i = 0; i < outputs.size(); ++i) integers_[static_cast<size_t>(outputs[i])] = node.outputs[i];
    const std::vector<ValueId> moved = node.outputs;
    made_.push_back(std::move(node));
    for (size_t i = 0; i < outputs.size(); ++i) {
      Node back;
      back.op = Op::kDequantize;
      back.name = graph_.value(outputs[i]).name;
      back.inputs = {moved[i]};
      back.outputs = {outputs[i]};
      made_.push_back(std::move(back));
    }
  }

  // What follows a value: a Relu or Clip, if there is one, and a Quantize; SIZE_MAX: none.
  struct Tail {
    size_t activation = SIZE_MAX, quantize = SIZE_MAX;
  };

  Tail tail_of(const Node& node) const {
    Tail tail;
    if (node.outputs.size() != 1) return tail;
    const auto only_reader = [&](ValueId id) {
      const std::vector<size_t>& readers = readers_[static_cast<size_t>(id)];
      return readers.size() == 1 ? readers[0] : SIZE_MAX;
    };
    size_t next = only_reader(node.outputs[0]);
    if (next == SIZE_MAX) return tail;
    const Op op = graph_.nodes[next].op;
    if (op == Op::kRelu || op == Op::kClip) {
      tail.activation = next;
      next = only_reader(graph_.nodes[next].outputs[0]);
    }
    if (next != SIZE_MAX && graph_.nodes[next].op == Op::kQuantize) tail.quantize = next;
    return tail;
  }

  // Makes the node and what follows it up to a Quantize one node of int8. Otherwise the reason why not.
  std::string fold(Node* node) {
    const Tail tail = tail_of(*node);
    if (tail.quantize == SIZE_MAX) return "its output is not quantised, or read by others too";
    const ValueId out = graph_.nodes[tail.quantize].outputs[0];
    std::string reason = to_int8(node, quantization(out));
    if (!reason.empty()) return reason;
    ValueId y = out;
    Node activation;
    const bool left = tail.activation != SIZE_MAX && !fuse(graph_.nodes[tail.activation], node);
    if (left) {  // bounds keep their order in integers, so rounding before them changes nothing
      activation = graph_.nodes[tail.activation];
      y = add_int8(graph_.value(node->outputs[0]).name + ".int8", graph_.shape(node->outputs[0]), quantization(out));
      activation.inputs = {y};
      activation.outputs = {out};
    }
    node->outputs = {y};
    made_.push_back(std::move(*node));
    if (left) made_.push_back(std::move(activation));
    removed_[tail.quantize] = true;
    if (tail.activation != SIZE_MAX) removed_[tail.activation] = true;
    return "";
  }

  static bool fuse(const Node& activation, Node* node) {
    auto* conv = std::get_if<ConvAttrs>(&node->attrs);
    auto* fc = std::get_if<FullyConnectedAttrs>(&node->attrs);
    if (!conv && !fc) return false;
    Activation& slot = conv ? conv->activation : fc->activation;
    slot = {Activation::Kind::kRelu, 0, 0};
    if (activation.op == Op::kClip) {
      const auto& clip = std::get<ClipAttrs>(activation.attrs);
      slot = {Activation::Kind::kClip, clip.low, clip.high};
    }
    return true;
  }

  std::string to_int8(Node* node, const Quantization& out) {
    if (node->op == Op::kConv || node->op == Op::kFullyConnected) return layer_to_int8(node, out);
    const std::vector<ValueId> operands = integer_operands(*node);
    constexpr const char* kNoForm = "it has no form with integers";
    constexpr const char* kFar = "the scales of its input and output are too far apart";
    if (operands.empty()) {
      return node->op == Op::kAdd || node->op == Op::kMul || node->op == Op::kConcat
                 ? "one of its operands is constant or not quantised"
                 : kNoForm;
    }
    const Quantization& in = quantization(operands[0]);
    const double to = scale_of(out);
    switch (node->op) {
      case Op::kRelu:
      case Op::kClip:
        if (!can_requantize(in, out)) return kFar;
        break;
      case Op::kAdd:
        if (!fits_multiplier(255, 2 * std::max(scale_of(in), scale_of(quantization(operands[1]))) / to)) return kFar;
        break;
      case Op::kMul:
        if (!fits_multiplier(255. * 255., scale_of(in) * scale_of(quantization(operands[1])) / to)) return kFar;
        break;
      case Op::kAveragePool:
        if (is_global(*node)) {
          node->op = Op::kGlobalAveragePool;
          node->attrs = NoAttrs{};
        } else if (!same(in, out)) {
          return "the scale or zero point of its output differs from its input's";
        } else if (!has_odd_windows(*node)) {
          return "averages half-way between two integers would be rounded otherwise than in ONNX";
        } else {
          break;
        }
        [[fallthrough]];
      case Op::kGlobalAveragePool:
        if (!fits_global_pool(*node, in, out)) return kFar;
        break;
      case Op::kConcat:
        return concat_to_int8(node, operands, out);
      case Op::kSoftmax:
        if (out.scales[0] != 1.f / 256 || out.zero_points[0] != -128 || in.scales[0] < 0x1p-27f) {
          return "with integers the scale of its output is 1/256, its zero point the lowest integer";
        }
        break;
      default:
        return kNoForm;
    }
    node->inputs = operands;
    return "";
  }

  bool fits_global_pool(const Node& node, const Quantization& in, const Quantization& out) const {
    const Shape& s = graph_.shape(node.inputs[0]);
    const auto pixels = static_cast<double>(s[2] * s[3]);
    return fits_multiplier(255 * pixels, scale_of(in) / (scale_of(out) * pixels));
  }

  // Whether an average pool has one window, which is the image.
  bool is_global(const Node& node) const {
    const auto& pool = std::get<PoolAttrs>(node.attrs);
    const Shape& s = graph_.shape(node.inputs[0]);
    return pool.pads == std::array<int32_t, 4>{0, 0, 0, 0} && pool.kernel[0] == s[2] && pool.kernel[1] == s[3];
  }

  // Whether every average is of an odd number of elements, so that none is half-way between two integers.
  static bool has_odd_windows(const Node& node) {
    const auto& pool = std::get<PoolAttrs>(node.attrs);
    const bool padded = pool.pads != std::array<int32_t, 4>{0, 0, 0, 0};
    return pool.kernel[0] * pool.kernel[1] % 2 == 1 && !pool.ceil_mode && (!padded || pool.count_include_pad);
  }

  // Operands of other scales are brought to the output's.
  std::string concat_to_int8(Node* node, const std::vector<ValueId>& operands, const Quantization& out) {
    for (const ValueId id : operands) {
      if (!can_requantize(quantization(id), out)) return "the scales of its operands are too far apart";
    }
    for (size_t i = 0; i < operands.size(); ++i) {
      node->inputs[i] = operands[i];
      if (same(quantization(operands[i]), out)) continue;
      const auto earlier = std::find(operands.begin(), operands.begin() + static_cast<std::ptrdiff_t>(i), operands[i]);
      if (earlier != operands.begin() + static_cast<std::ptrdiff_t>(i)) {
        node->inputs[i] = node->inputs[static_cast<size_t>(earlier - operands.begin())];
        continue;
      }
      Node requantize;
      requantize.op = Op::kQuantize;
      requantize.name = node->name;
      requantize.inputs = {operands[i]};
      const Value& from = graph_.value(operands[i]);
      requantize.outputs = {add_int8(from.name + ".requantized", Shape(from.shape), out)};
      node->inputs[i] = requantize.outputs[0];
      made_.push_back(std::move(requantize));
    }
    return "";
  }

  std::string layer_to_int8(Node* node, const Quantization& out) {
    const ValueId in = integers_[static_cast<size_t>(node->inputs[0])];
    if (in == kNoValue) return "its input is not quantised";
    const auto found = constants_.find(graph_.value(node->inputs[1]).name);
    IntegerLayer layer;
    const std::string reason = make_integer_layer(graph_, *node, found == constants_.end() ? nullptr : &found->second,
                                                  quantization(in), out, &layer);
    if (!reason.empty()) return reason;
    node->inputs[0] = in;
    set_constant(&node->inputs[1], std::move(layer.weight), std::move(layer.weight_quantization));
    if (node->inputs.size() > 2 && node->inputs[2] != kNoValue) {
      set_constant(&node->inputs[2], std::move(layer.bias), {});
    }
    return "";
  }

  // In place of a constant that the node alone reads; others keep their own.
  void set_constant(ValueId* id, Tensor tensor, Quantization q) {
    for (TensorRecord& record : report_.tensors) {
      if (record.target == graph_.value(*id).name) record.how = std::string("stored as ") + name(tensor.type);
    }
    if (readers_[static_cast<size_t>(*id)].size() > 1) *id = add_int8(graph_.value(*id).name + ".int8", {}, {});
    Value& value = graph_.value(*id);
    value.is_constant = true;
    value.type = tensor.type;
    value.shape = tensor.shape;
    value.constant = std::move(tensor);
    value.quantization = std::move(q);
  }

  void tell() {
    const auto count = std::count_if(graph_.nodes.begin(), graph_.nodes.end(), [&](const Node& node) {
      return node.op != Op::kQuantize && node.op != Op::kDequantize && !is_float(node.outputs[0]);
    });
    report_.note("the network is quantised: " + std::to_string(count) +
                 (count == 1 ? " node computes" : " nodes compute") + " with int8");
  }

  Graph& graph_;
  const IntegerConstants& constants_;
  Report& report_;
  std::unordered_set<std::string> names_;
  std::vector<std::vector<size_t>> readers_;
  std::vector<bool> removed_;      // nodes that are part of another now
  std::vector<ValueId> integers_;  // by value: the int8 value that a Dequantize makes it of
  std::vector<ValueId> alias_;     // by value: the one that is read in its place
  std::vector<Node> made_;
};

}  // namespace

void compute_with_integers(Graph* graph, const IntegerConstants& constants, Report* report) {
  const bool quantised = std::any_of(graph->nodes.begin(), graph->nodes.end(), [](const Node& node) {
    return node.op == Op::kQuantize || node.op == Op::kDequantize;
  });
  if (!quantised) return;
  order_quantize_nodes(graph);
  IntegerGraph(graph, constants, report).run();
}

}  // namespace sparsenet::converter

// Operators that read quantised integers: each becomes its float operator between DequantizeLinear and QuantizeLinear.
#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "converter/onnx/quantized.h"

namespace sparsenet::converter {
namespace {

using onnx_ns::NodeProto;
using Import = std::function<Status(NodeProto*)>;

constexpr int kNone = -1;

// Inputs that belong together: integers, their scale, their zero point.
struct Triple {
  int value, scale, zero;
};

// An operator whose operands have scales and zero points as inputs of their own.
struct QuantizedOperator {
  const char* name;
  const char* real;  // what it computes with the numbers that the integers stand for
  std::vector<Triple> operands;
  int bias = kNone;  // integers at the product of the first two scales
  int out_scale = kNone, out_zero = kNone;
  int weight_axis = 1;  // of operand 1, where it has several scales
};

const std::vector<QuantizedOperator>& quantized_operators() {
  static const std::vector<QuantizedOperator> rows{
      {"QLinearConv", "Conv", {{0, 1, 2}, {3, 4, 5}}, 8, 6, 7, 0},
      {"QLinearMatMul", "MatMul", {{0, 1, 2}, {3, 4, 5}}, kNone, 6, 7},
      {"QGemm", "Gemm", {{0, 1, 2}, {3, 4, 5}}, 6, 7, 8},
      {"QLinearAdd", "Add", {{0, 1, 2}, {3, 4, 5}}, kNone, 6, 7},
      {"QLinearMul", "Mul", {{0, 1, 2}, {3, 4, 5}}, kNone, 6, 7},
      {"QLinearAveragePool", "AveragePool", {{0, 1, 2}}, kNone, 3, 4},
      {"QLinearGlobalAveragePool", "GlobalAveragePool", {{0, 1, 2}}, kNone, 3, 4},
      {"QLinearReduceMean", "ReduceMean", {{0, 1, 2}}, kNone, 3, 4},
      {"QLinearSigmoid", "Sigmoid", {{0, 1, 2}}, kNone, 3, 4},
      {"QLinearLeakyRelu", "LeakyRelu", {{0, 1, 2}}, kNone, 3, 4},
      {"QLinearSoftmax", "Softmax", {{0, 1, 2}}, kNone, 3, 4},
      {"QLinearConcat", "Concat", {}, kNone, 0, 1},  // any number of operands, from input 2 on
  };
  return rows;
}

const QuantizedOperator* find_quantized_operator(const std::string& op) {
  const auto& rows = quantized_operators();
  const auto row = std::find_if(rows.begin(), rows.end(), [&](const QuantizedOperator& r) { return op == r.name; });
  return row == rows.end() ? nullptr : &*row;
}

// Operators of the default domain that do to integers what they do to the numbers that these stand for.
bool moves_integers(NodeContext& c) {
  static const char* const kOps[] = {"Concat",       "DepthToSpace", "Expand",  "Flatten",   "Gather",
                                     "Identity",     "MaxPool",      "Reshape", "Slice",     "Split",
                                     "SpaceToDepth", "Squeeze",      "Tile",    "Transpose", "Unsqueeze"};
  if (std::any_of(std::begin(kOps), std::end(kOps), [&](const char* known) { return c.op() == known; })) return true;
  return (c.op() == "Resize" || c.op() == "Upsample") && c.string_attribute("mode", "nearest") == "nearest";
}

// Imports a node as several.
class Expansion {
 public:
  Expansion(NodeContext& c, const NodeProto& node, const Import& import) : c_(c), node_(node), import_(import) {}

  Status run(const QuantizedOperator& row) {
    if (c_.int_attribute("channels_last", 0) != 0) {
      return unsupported("channels_last 1: expected images [N, C, H, W], as exporters write them");
    }
    NodeProto real = copy(row.real, {"channels_last", "opset"});
    real.clear_input();
    // The weight's axis of the outputs. Only QGemm may have it transposed.
    const int64_t weight_axis = c_.int_attribute("transB", 0) != 0 ? 0 : row.weight_axis;
    for (size_t i = 0; i < row.operands.size(); ++i) add_operand(row.operands[i], i == 1 ? weight_axis : 1, &real);
    for (int i = 2; row.operands.empty() && i < node_.input_size(); i += 3) add_operand({i, i + 1, i + 2}, 1, &real);
    if (row.bias != kNone && has(row.bias)) add_bias(row, &real);
    if (status_.ok()) status_ = import_as(row, &real);
    return status_;
  }

  // For a node that moves integers: their scales stay what they are.
  Status run_moved() {
    NodeProto real = copy(node_.op_type(), {});
    const Quantization* q = nullptr;
    OnnxValue::Bytes bytes = OnnxValue::Bytes::kNone;
    for (int i = 0; i < node_.input_size(); ++i) {
      const OnnxValue* x = c_.input(static_cast<size_t>(i));
      if (!x || !x->is_quantized) continue;
      const Value& value = c_.writer().graph.value(x->id);
      if (q && (q->scales != value.quantization.scales || q->zero_points != value.quantization.zero_points)) {
        return unsupported("its operands '" + printable(node_.input(0)) + "' and '" + printable(node_.input(i)) +
                           "' are integers of different scales or zero points: expected a DequantizeLinear in front");
      }
      const Quantization own = value.quantization;
      bytes = x->bytes;
      SPARSENET_ASSIGN_OR_RETURN(const ValueId y, c_.writer().node(Op::kDequantize, c_.name(), {x->id}));
      const std::string name = temporary(node_.input(i));
      c_.state().values[name].id = y;
      real.set_input(i, name);
      quantization_ = own;
      q = &quantization_;
    }
    for (std::string& output : *real.mutable_output()) {
      if (!output.empty()) output = temporary(output);
    }
    SPARSENET_RETURN_IF_ERROR(import_(&real));
    for (int i = 0; i < node_.output_size(); ++i) {
      if (node_.output(i).empty()) continue;
      const ValueId moved = c_.state().values[real.output(i)].id;
      if (moved == kNoValue) return internal_error("an output of quantised integers was not made");
      SPARSENET_ASSIGN_OR_RETURN(const ValueId y,
                                 c_.writer().node(Op::kQuantize, c_.name(), {moved}, NoAttrs{}, node_.output(i)));
      c_.writer().graph.value(y).type = DataType::kInt8;
      c_.writer().graph.value(y).quantization = quantization_;
      OnnxValue& out = c_.state().values[node_.output(i)];
      out.id = y;
      out.is_quantized = true;
      out.bytes = bytes;
    }
    return {};
  }

 private:
  bool has(int i) const { return c_.has_input(static_cast<size_t>(i)); }

  // The node with its name and attributes, but for some.
  NodeProto copy(const std::string& op, const std::vector<std::string>& without) const {
    NodeProto out = node_;
    out.set_op_type(op);
    out.clear_domain();
    for (int i = out.attribute_size(); i-- > 0;) {
      const std::string& name = out.attribute(i).name();
      if (std::find(without.begin(), without.end(), name) != without.end()) {
        out.mutable_attribute()->DeleteSubrange(i, 1);
      }
    }
    return out;
  }

  // A name that the file does not have; read once.
  std::string temporary(const std::string& base) {
    std::string name = base + ".real";
    while (c_.state().values.count(name) > 0) name += "'";
    c_.state().values[name];
    c_.state().uses[name] = 1;
    return name;
  }

  // The operator's inputs as numbers: DequantizeLinear of them.
  void add_operand(const Triple& from, int64_t axis, NodeProto* real) {
    if (!status_.ok()) return;
    for (const int i : {from.value, from.scale}) {
      if (!has(i)) {
        status_ = invalid_model("input " + std::to_string(i) + " is missing");
        return;
      }
    }
    NodeProto node;
    node.set_op_type("DequantizeLinear");
    node.set_name(node_.name());
    node.add_input(node_.input(from.value));
    node.add_input(node_.input(from.scale));
    if (has(from.zero)) node.add_input(node_.input(from.zero));
    auto* attribute = node.add_attribute();
    attribute->set_name("axis");
    attribute->set_type(onnx_ns::AttributeProto::INT);
    attribute->set_i(axis);
    for (int i = 1; i < node.input_size(); ++i) node.set_input(i, as_vector(node.input(i)));
    finish_operand(&node, from.value, real);
  }

  void finish_operand(NodeProto* dequantize, int value, NodeProto* real) {
    const std::string name = temporary(node_.input(value));
    dequantize->add_output(name);
    real->add_input(name);
    status_ = import_(dequantize).with_context("input " + std::to_string(value));
  }

  // QLinearMatMul may write one scale for each column as a matrix of one row.
  std::string as_vector(const std::string& name) {
    const HostTensorPtr tensor = c_.state().values[name].constant;
    if (!tensor || tensor->shape.size() != 2 || tensor->shape[0] != 1) return name;
    HostTensor row = *tensor;
    row.shape = {row.shape[1]};
    return constant(name, std::move(row));
  }

  std::string constant(const std::string& base, HostTensor tensor) {
    const std::string name = temporary(base);
    c_.state().values[name].constant = std::make_shared<const HostTensor>(std::move(tensor));
    return name;
  }

  // Its scale is in no input of the node: the product of the operands' scales, and of alpha.
  void add_bias(const QuantizedOperator& row, NodeProto* real) {
    if (!status_.ok()) return;
    const Result<HostTensorPtr> left = c_.constant(static_cast<size_t>(row.operands[0].scale), "scale");
    const Result<HostTensorPtr> right = c_.constant(static_cast<size_t>(row.operands[1].scale), "scale of the weight");
    if (!left.ok() || !right.ok() || (*left)->size() != 1) {
      status_ = !left.ok() ? left.status() : !right.ok() ? right.status() : invalid_model("scale: expected one number");
      return;
    }
    HostTensor scale = **right;
    const float factor = (*left)->floats.data()[0] * c_.float_attribute("alpha", 1.f);
    for (float& number : scale.floats) number *= factor;
    NodeProto node;
    node.set_op_type("DequantizeLinear");
    node.set_name(node_.name());
    node.add_input(node_.input(row.bias));
    node.add_input(constant(node_.input(row.bias) + ".scale", std::move(scale)));
    auto* axis = node.add_attribute();
    axis->set_name("axis");
    axis->set_type(onnx_ns::AttributeProto::INT);
    axis->set_i(0);
    finish_operand(&node, row.bias, real);
  }

  Status import_as(const QuantizedOperator& row, NodeProto* real) {
    const bool quantises = row.out_scale < node_.input_size() && has(row.out_scale);
    const std::string output = node_.output(0);
    if (quantises) real->set_output(0, temporary(output));
    // The attribute says by which opset's rules QLinearSoftmax computes.
    const int64_t opset = c_.opset();
    c_.state().opset = c_.int_attribute("opset", opset);
    const Status imported = import_(real);
    c_.state().opset = opset;
    SPARSENET_RETURN_IF_ERROR(imported);
    if (!quantises) {
      const OnnxValue made = c_.state().values[real->output(0)];
      c_.state().values[output] = made;
      return {};
    }
    NodeProto node;
    node.set_op_type("QuantizeLinear");
    node.set_name(node_.name());
    node.add_input(real->output(0));
    node.add_input(node_.input(row.out_scale));
    if (has(row.out_zero)) node.add_input(node_.input(row.out_zero));
    node.add_output(output);
    return import_(&node).with_context("output");
  }

  NodeContext& c_;
  const NodeProto& node_;
  const Import& import_;
  Status status_;
  Quantization quantization_;  // of integers that are moved
};

bool reads_any_quantized(const NodeContext& c) {
  for (size_t i = 0; i < c.input_count(); ++i) {
    const OnnxValue* x = c.input(i);
    if (x && x->is_quantized) return true;
  }
  return false;
}

}  // namespace

bool import_quantized(NodeContext& c, const NodeProto& node, const Import& import, Status* status) {
  if (const NodeImporter importer = find_quantize_op(c.op())) {
    *status = importer(c);
    return true;
  }
  if (const QuantizedOperator* row = find_quantized_operator(c.op())) {
    *status = Expansion(c, node, import).run(*row);
    return true;
  }
  if (!reads_any_quantized(c)) return false;
  if (moves_integers(c)) {
    *status = Expansion(c, node, import).run_moved();
  } else {
    *status = unsupported("it reads quantised integers: expected a DequantizeLinear in front of it");
  }
  return true;
}

bool is_imported_quantized(const std::string& op) {
  return find_quantized_operator(op) || find_quantize_op(op);
}

bool reads_quantized(const std::string& op, size_t i) {
  if (op == "DequantizeLinear") return i == 0;
  if (op == "QLinearConcat") return i % 3 == 2;
  const QuantizedOperator* row = find_quantized_operator(op);
  return row && std::any_of(row->operands.begin(), row->operands.end(),
                            [i](const Triple& operand) { return operand.value == static_cast<int>(i); });
}

bool has_dynamic_scales(const std::string& op) {
  for (const char* known : {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "MatMulIntegerToFloat",
                            "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}) {
    if (op == known) return true;
  }
  return false;
}

}  // namespace sparsenet::converter

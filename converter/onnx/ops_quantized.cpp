// QuantizeLinear and DequantizeLinear of computed values.
#include <cmath>
#include <cstdio>

#include "converter/onnx/compose.h"
#include "converter/onnx/quantized.h"

namespace sparsenet::converter {
namespace {

std::string number(float value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
  return text;
}

bool is_uint8(const OnnxValue& x) {
  return x.bytes == OnnxValue::Bytes::kUInt8;
}

// As the file says them; the zero point in the file's type.
std::string text(float scale, int32_t zero) {
  return "scale " + number(scale) + " and zero point " + std::to_string(zero);
}

// One scale and zero point. `type` is that of the integers.
Result<Quantization> read_quantization(NodeContext& c, ElementType type) {
  if (c.int_attribute("block_size", 0) != 0) return unsupported("block_size: expected one scale for computed values");
  SPARSENET_ASSIGN_OR_RETURN(const HostTensorPtr scale, c.constant(1, "scale"));
  if (scale->size() != 1) {
    return unsupported("scale: expected one number for computed values, found " + to_string(scale->shape) +
                       ": quantise activations per tensor");
  }
  const float value = scale->floats.data()[0];
  if (!(value > 0.f) || !std::isfinite(value)) {
    return invalid_model("scale: expected a positive number, found " + number(value));
  }
  int64_t zero = 0;
  if (c.has_input(2)) {
    const OnnxValue* x = c.input(2);
    if (x && x->constant && x->constant->type != type) {
      return invalid_model("zero point: expected " + std::string(name(type)) + " as the integers are, found " +
                           name(x->constant->type));
    }
    SPARSENET_ASSIGN_OR_RETURN(const std::vector<int64_t> zeros, c.ints(2, "zero point"));
    if (zeros.size() != 1) return invalid_model("zero point: expected one number, found " + to_string(zeros));
    zero = zeros[0];
  }
  if (type == ElementType::kUInt8) zero -= 128;
  Quantization q;
  q.scales = {value};
  q.zero_points = {static_cast<int32_t>(zero)};
  return q;
}

// A node between floats and integers, or from uint8 to int8.
Result<ValueId> add_node(NodeContext& c, Op op, ValueId x, const Quantization& q, const std::string& output) {
  SPARSENET_ASSIGN_OR_RETURN(const ValueId y, c.writer().node(op, c.name(), {x}, NoAttrs{}, output));
  if (op == Op::kQuantize) {
    Value& value = c.writer().graph.value(y);
    value.type = DataType::kInt8;
    value.quantization = q;
  }
  return y;
}

Status import_quantize(NodeContext& c) {
  const OnnxValue* x = c.input(0);
  if (x && x->is_quantized) return invalid_model("input: expected floats, found quantised integers");
  SPARSENET_ASSIGN_OR_RETURN(const ElementType type, quantized_type(c));
  SPARSENET_ASSIGN_OR_RETURN(const Quantization q, read_quantization(c, type));
  SPARSENET_ASSIGN_OR_RETURN(const ValueId real, c.value(0));
  SPARSENET_ASSIGN_OR_RETURN(const ValueId y, add_node(c, Op::kQuantize, real, q, c.output_name(0)));
  c.set_output(0, y);
  OnnxValue& out = c.state().values[c.output_name(0)];
  out.is_quantized = true;
  out.bytes = type == ElementType::kUInt8 ? OnnxValue::Bytes::kUInt8 : OnnxValue::Bytes::kInt8;
  return {};
}

// The first node that reads an input of integers says what they stand for.
Status start_input(NodeContext& c, OnnxValue* x, const Quantization& q) {
  Value& input = c.writer().graph.value(x->id);
  const int32_t offset = is_uint8(*x) ? 128 : 0;
  input.quantization = q;
  input.quantization.zero_points[0] += offset;
  c.state().report->note("input '" + printable(input.name) + "' stays " + (is_uint8(*x) ? "uint8" : "int8") +
                         ": its integers stand for numbers with " +
                         text(q.scales[0], input.quantization.zero_points[0]));
  if (!is_uint8(*x)) return {};
  SPARSENET_ASSIGN_OR_RETURN(x->id, add_node(c, Op::kQuantize, x->id, q, input.name + ".int8"));
  return {};
}

// An input of integers that other operators read too, or have moved: float32 in the graph, with the same whole numbers.
Status dequantize_whole_numbers(NodeContext& c, const Quantization& q, ElementType type) {
  Compose g(c);
  const int32_t zero = q.zero_points[0] + (type == ElementType::kUInt8 ? 128 : 0);
  ValueId x = g.input(0);
  if (zero != 0) x = g.node(Op::kAdd, {x, g.scalar(-static_cast<float>(zero))});
  x = g.scaled(x, q.scales[0]);
  if (!g.ok()) return g.status();
  SPARSENET_ASSIGN_OR_RETURN(const ValueId y, add_node(c, Op::kQuantize, x, q, c.output_name(0) + ".int8"));
  SPARSENET_ASSIGN_OR_RETURN(const ValueId real, add_node(c, Op::kDequantize, y, q, c.output_name(0)));
  c.set_output(0, real);
  return {};
}

Status import_dequantize(NodeContext& c) {
  const auto found = c.has_input(0) ? c.state().values.find(c.input_name(0)) : c.state().values.end();
  if (found == c.state().values.end()) return invalid_model("input 0 is missing");
  OnnxValue* x = &found->second;
  const OnnxValue* scale = c.input(1);
  if (x->unknown() || (scale && scale->unknown()) || (!x->is_quantized && !x->is_integer && x->from_input)) {
    c.skip();
    return internal_error("unknown input");
  }
  if (x->bytes == OnnxValue::Bytes::kNone) {
    return unsupported("input: expected int8 or uint8 that a QuantizeLinear or an input gives, found " +
                       std::string(x->constant ? name(x->constant->type) : "floats"));
  }
  const ElementType type = is_uint8(*x) ? ElementType::kUInt8 : ElementType::kInt8;
  SPARSENET_ASSIGN_OR_RETURN(const Quantization q, read_quantization(c, type));
  if (x->is_integer) return dequantize_whole_numbers(c, q, type);
  if (c.writer().graph.value(x->id).quantization.empty()) SPARSENET_RETURN_IF_ERROR(start_input(c, x, q));
  const Quantization& own = c.writer().graph.value(x->id).quantization;
  if (own.scales != q.scales || own.zero_points != q.zero_points) {
    const int32_t offset = is_uint8(*x) ? 128 : 0;
    return unsupported("expected the " + text(own.scales[0], own.zero_points[0] + offset) + " with which '" +
                       printable(c.input_name(0)) + "' was quantised, found " +
                       text(q.scales[0], q.zero_points[0] + offset));
  }
  SPARSENET_ASSIGN_OR_RETURN(const ValueId y, add_node(c, Op::kDequantize, x->id, q, c.output_name(0)));
  c.set_output(0, y);
  return {};
}

}  // namespace

Result<ElementType> quantized_type(NodeContext& c) {
  using onnx_ns::TensorProto;
  ElementType type = ElementType::kUInt8;
  std::string found;
  const OnnxValue* zero = c.has_input(2) ? c.input(2) : nullptr;
  const int64_t given = c.int_attribute("output_dtype", 0);
  if (zero && zero->constant) {
    type = zero->constant->type;
    found = name(type);
  } else if (given != 0) {
    type = given == TensorProto::INT8 ? ElementType::kInt8 : given == TensorProto::UINT8 ? type : ElementType::kBool;
    found = onnx_type_name(static_cast<int32_t>(given & 0xff));
  }
  if (type == ElementType::kInt8 || type == ElementType::kUInt8) return type;
  return unsupported("zero point: expected int8 or uint8, found " + found + ": quantise activations to 8 bits");
}

NodeImporter find_quantize_op(const std::string& op) {
  if (op == "QuantizeLinear") return import_quantize;
  return op == "DequantizeLinear" ? import_dequantize : nullptr;
}

}  // namespace sparsenet::converter

// ONNX activations and arithmetic.
#include <cmath>
#include <limits>

#include "converter/onnx/compose.h"

namespace sparsenet::converter {
namespace {

// Operators that are an activation of ours. Attributes "alpha" and "beta", where the operator has them, with their
// defaults.
struct ActivationOperator {
  const char* name;
  Op op;
  float alpha = 0, beta = 0;
};
const ActivationOperator kActivationOperators[] = {
    {"Relu", Op::kRelu},           {"LeakyRelu", Op::kLeakyRelu, 0.01f},
    {"Sigmoid", Op::kSigmoid},     {"HardSigmoid", Op::kHardSigmoid, 0.2f, 0.5f},
    {"HardSwish", Op::kHardSwish}, {"Tanh", Op::kTanh},
    {"Elu", Op::kElu, 1.f},        {"Softplus", Op::kSoftplus},
    {"Mish", Op::kMish},           {"Erf", Op::kErf},
};

const ActivationOperator* find_activation_operator(const std::string& name) {
  for (const ActivationOperator& row : kActivationOperators) {
    if (name == row.name) return &row;
  }
  return nullptr;
}

Status import_activation(NodeContext& c) {
  const ActivationOperator& row = *find_activation_operator(c.op());
  if (row.alpha == 0.f) return emit_elementwise(c, row.op);
  AlphaBetaAttrs attrs;
  attrs.alpha = c.float_attribute("alpha", row.alpha);
  if (row.beta != 0.f) attrs.beta = c.float_attribute("beta", row.beta);
  return emit_elementwise(c, row.op, attrs);
}

Status import_gelu(NodeContext& c) {
  const std::string form = c.string_attribute("approximate", "none");
  if (form != "none" && form != "tanh") {
    return invalid_model("approximate: expected none or tanh, found " + printable(form));
  }
  return emit_elementwise(c, form == "tanh" ? Op::kGeluTanh : Op::kGelu);
}

Status import_clip(NodeContext& c) {
  float low = c.float_attribute("min", -std::numeric_limits<float>::infinity());
  float high = c.float_attribute("max", std::numeric_limits<float>::infinity());
  if (c.has_input(1)) {  // opset 11
    SPARSENET_ASSIGN_OR_RETURN(low, c.scalar(1, "min"));
  }
  if (c.has_input(2)) {
    SPARSENET_ASSIGN_OR_RETURN(high, c.scalar(2, "max"));
  }
  low = std::min(low, high);  // where the bounds cross, everything becomes the upper one
  constexpr float kLargest = std::numeric_limits<float>::max();
  const bool no_low = low <= -kLargest, no_high = high >= kLargest;
  if (no_low && no_high) {
    c.alias_output(0, 0);
    return {};
  }
  if (low == 0.f && no_high) return emit_elementwise(c, Op::kRelu);
  return emit_elementwise(c, Op::kClip, ClipAttrs{no_low ? -kLargest : low, no_high ? kLargest : high});
}

// Up to opset 12 Softmax treats its input as a matrix: all dimensions before `axis` times all dimensions from `axis`
// on.
Status import_softmax(NodeContext& c) {
  const bool matrix_form = c.opset() < 13;
  const int64_t axis_attribute = c.int_attribute("axis", matrix_form ? 1 : -1);
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  const Shape shape = c.writer().shape(x);
  Result<int32_t> axis = normalize_axis(axis_attribute, shape.size());
  if (!axis.ok()) return axis.status();
  if (*axis == c.writer().batch_axis(x)) return c.mixes_batch("axis " + std::to_string(*axis) + " is the batch");
  const auto at = static_cast<size_t>(*axis);
  int64_t behind = 1;
  for (size_t d = at + 1; d < shape.size(); ++d) behind *= shape[d];
  if (matrix_form && behind > 1 && c.writer().batch_axis(x) > *axis) return c.mixes_batch("softmax over the batch");
  if (!matrix_form || behind == 1) return c.emit(Op::kSoftmax, {x}, AxisAttrs{*axis});
  Shape matrix(shape.begin(), shape.begin() + *axis);
  matrix.push_back(shape[at] * behind);
  SPARSENET_ASSIGN_OR_RETURN(ValueId flat, c.writer().reshape(c.name() + ".flatten", x, matrix));
  SPARSENET_ASSIGN_OR_RETURN(ValueId y,
                             c.writer().node(Op::kSoftmax, c.name(), {flat}, AxisAttrs{*axis}, c.name() + ".softmax"));
  SPARSENET_ASSIGN_OR_RETURN(ValueId back, c.writer().reshape(c.name() + ".restore", y, shape, c.output_name(0)));
  c.set_output(0, back);
  return {};
}

Status import_binary(NodeContext& c) {
  Op op = Op::kAdd;
  if (c.op() == "Sub") op = Op::kSub;
  if (c.op() == "Mul") op = Op::kMul;
  if (c.op() == "Div") op = Op::kDiv;
  return emit_arithmetic(c, op);
}

Status import_mean(NodeContext& c) {
  Compose g(c);
  ValueId sum = g.input(0);
  for (size_t i = 1; i < c.input_count(); ++i) sum = g.node(Op::kAdd, {sum, g.input(i)});
  return g.finish(g.scaled(sum, 1.f / static_cast<float>(c.input_count())));
}

Status import_swish(NodeContext& c) {
  return emit_elementwise(c, Op::kSilu, AlphaBetaAttrs{c.float_attribute("alpha", 1.f), 0.f});
}

Status import_sum(NodeContext& c) {
  if (c.input_count() == 1) {
    c.alias_output(0, 0);
    return {};
  }
  Result<ValueId> sum = c.value(0);
  for (size_t i = 1; sum.ok() && i + 1 < c.input_count(); ++i) {
    SPARSENET_ASSIGN_OR_RETURN(ValueId next, c.value(i));
    sum = c.writer().node(Op::kAdd, c.name(), {*sum, next}, NoAttrs{}, c.name() + ".partial");
  }
  if (!sum.ok()) return sum.status();
  if (c.input_count() < 2) return invalid_model("no inputs");
  SPARSENET_ASSIGN_OR_RETURN(ValueId last, c.value(c.input_count() - 1));
  return c.emit(Op::kAdd, {*sum, last});
}

Status import_identity(NodeContext& c) {
  if (!c.input(0)) return invalid_model("input 0 is missing");
  c.alias_output(0, 0);
  return {};
}

// In inference Dropout passes its input through. Since opset 12 an input states whether the node is in training mode.
Status import_dropout(NodeContext& c) {
  if (c.output_is_used(1)) return unsupported("the mask (output 1) is used");
  if (c.has_input(2)) {
    SPARSENET_ASSIGN_OR_RETURN(std::vector<int64_t> training, c.ints(2, "training_mode"));
    if (training.size() != 1 || training[0] != 0) {
      return unsupported("training_mode is true: export the network in evaluation mode");
    }
  }
  return import_identity(c);
}

// Everything is computed in float32 here. A cast to a wider type and back loses nothing; a narrower type rounds.
Status import_cast(NodeContext& c) {
  using onnx_ns::TensorProto;
  const int64_t to = c.int_attribute("to", 0);
  const bool keeps =
      to == TensorProto::FLOAT || to == TensorProto::DOUBLE || (to == TensorProto::FLOAT16 && c.state().half_network);
  if (keeps) return import_identity(c);
  if (to == TensorProto::FLOAT16 || to == TensorProto::BFLOAT16) {
    return unsupported(std::string("activations are rounded to ") + (to == TensorProto::FLOAT16 ? "" : "b") +
                       "float16, which this version does not compute: export the network in float32");
  }
  return unsupported("activations cast to an integer type");
}

}  // namespace

NodeImporter find_pointwise_op(const std::string& op) {
  struct Row {
    const char* op;
    NodeImporter importer;
  };
  static const Row kRows[] = {
      {"Clip", import_clip},         {"Softmax", import_softmax}, {"Add", import_binary}, {"Sub", import_binary},
      {"Mul", import_binary},        {"Div", import_binary},      {"Sum", import_sum},    {"Gelu", import_gelu},
      {"Identity", import_identity}, {"Dropout", import_dropout}, {"Cast", import_cast},  {"Mean", import_mean},
      {"Swish", import_swish},
  };
  for (const Row& row : kRows) {
    if (op == row.op) return row.importer;
  }
  return find_activation_operator(op) ? import_activation : find_function_op(op);
}

}  // namespace sparsenet::converter

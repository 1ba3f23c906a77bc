#include "converter/onnx/operator_table.h"

#include <algorithm>
#include <climits>
#include <string>

#include "converter/report.h"

namespace sparsenet::converter {
namespace {

constexpr int kFirst = 0, kLatest = INT_MAX, kAnyNumber = INT_MAX;

struct Attribute {
  const char* name = nullptr;
  int first_opset = kFirst, last_opset = kLatest;
};

struct Operator {
  const char* name;
  int least_inputs, most_inputs;  // least: over all opsets; these must be present, with kAnyNumber all
  Attribute attributes[10];       // terminated by one without a name
};

// The operators that are imported or folded; from the ONNX operator specification, domain ai.onnx.
constexpr Operator kOperators[] = {
    {"Abs", 1, 1, {}},
    {"Add", 2, 2, {{"axis", kFirst, 6}, {"broadcast", kFirst, 6}}},
    {"ArgMax", 1, 1, {{"axis"}, {"keepdims"}, {"select_last_index", 12}}},
    {"ArgMin", 1, 1, {{"axis"}, {"keepdims"}, {"select_last_index", 12}}},
    {"AveragePool",
     1,
     1,
     {{"auto_pad"},
      {"ceil_mode", 10},
      {"count_include_pad"},
      {"dilations", 19},
      {"kernel_shape"},
      {"pads"},
      {"strides"}}},
    {"BatchNormalization",
     5,
     5,
     {{"epsilon"}, {"is_test", kFirst, 6}, {"momentum"}, {"spatial", kFirst, 8}, {"training_mode", 14}}},
    {"Cast", 1, 1, {{"to"}, {"saturate", 19}, {"round_mode", 24}}},
    {"Celu", 1, 1, {{"alpha"}}},
    {"Clip", 1, 3, {{"min", kFirst, 10}, {"max", kFirst, 10}}},
    {"Concat", 1, kAnyNumber, {{"axis"}}},
    {"Constant",
     0,
     0,
     {{"value"},
      {"sparse_value", 11},
      {"value_float", 12},
      {"value_floats", 12},
      {"value_int", 12},
      {"value_ints", 12},
      {"value_string", 12},
      {"value_strings", 12}}},
    {"ConstantOfShape", 1, 1, {{"value"}}},
    {"Conv", 2, 3, {{"auto_pad"}, {"dilations"}, {"group"}, {"kernel_shape"}, {"pads"}, {"strides"}}},
    {"ConvTranspose",
     2,
     3,
     {{"auto_pad"},
      {"dilations"},
      {"group"},
      {"kernel_shape"},
      {"output_padding"},
      {"output_shape"},
      {"pads"},
      {"strides"}}},
    {"DepthToSpace", 1, 1, {{"blocksize"}, {"mode", 11}}},
    {"Div", 2, 2, {{"axis", kFirst, 6}, {"broadcast", kFirst, 6}}},
    {"Dropout", 1, 3, {{"is_test", kFirst, 6}, {"ratio", kFirst, 11}, {"seed", 12}}},
    {"Einsum", 1, kAnyNumber, {{"equation"}}},
    {"Elu", 1, 1, {{"alpha"}}},
    {"Erf", 1, 1, {}},
    {"Exp", 1, 1, {}},
    {"Expand", 2, 2, {}},
    {"Flatten", 1, 1, {{"axis"}}},
    {"Gather", 2, 2, {{"axis"}}},
    {"Gelu", 1, 1, {{"approximate", 20}}},
    {"Gemm", 2, 3, {{"alpha"}, {"beta"}, {"broadcast", kFirst, 6}, {"transA"}, {"transB"}}},
    {"GlobalAveragePool", 1, 1, {}},
    {"GlobalMaxPool", 1, 1, {}},
    {"GroupNormalization", 3, 3, {{"epsilon"}, {"num_groups"}, {"stash_type", 21}}},
    {"HardSigmoid", 1, 1, {{"alpha"}, {"beta"}}},
    {"HardSwish", 1, 1, {}},
    {"Hardmax", 1, 1, {{"axis"}}},
    {"Identity", 1, 1, {}},
    {"InstanceNormalization", 3, 3, {{"epsilon"}}},
    {"LRN", 1, 1, {{"alpha"}, {"beta"}, {"bias"}, {"size"}}},
    {"LayerNormalization", 2, 3, {{"axis"}, {"epsilon"}, {"stash_type"}}},
    {"LeakyRelu", 1, 1, {{"alpha"}}},
    {"Log", 1, 1, {}},
    {"LogSoftmax", 1, 1, {{"axis"}}},
    {"LpNormalization", 1, 1, {{"axis"}, {"p"}}},
    {"MatMul", 2, 2, {}},
    {"Max", 1, kAnyNumber, {}},
    {"MaxPool",
     1,
     1,
     {{"auto_pad"},
      {"ceil_mode", 10},
      {"dilations", 10},
      {"kernel_shape"},
      {"pads"},
      {"storage_order", 8},
      {"strides"}}},
    {"Mean", 1, kAnyNumber, {}},
    {"Min", 1, kAnyNumber, {}},
    {"Mish", 1, 1, {}},
    {"Mul", 2, 2, {{"axis", kFirst, 6}, {"broadcast", kFirst, 6}}},
    {"Neg", 1, 1, {}},
    {"PRelu", 2, 2, {}},
    {"Pad", 1, 4, {{"mode"}, {"pads", kFirst, 10}, {"value", kFirst, 10}}},
    {"Pow", 2, 2, {{"axis", kFirst, 6}, {"broadcast", kFirst, 6}}},
    {"RMSNormalization", 2, 2, {{"axis"}, {"epsilon"}, {"stash_type"}}},
    {"Reciprocal", 1, 1, {}},
    {"ReduceL1", 1, 2, {{"axes", kFirst, 17}, {"keepdims"}, {"noop_with_empty_axes", 18}}},
    {"ReduceL2", 1, 2, {{"axes", kFirst, 17}, {"keepdims"}, {"noop_with_empty_axes", 18}}},
    {"ReduceLogSum", 1, 2, {{"axes", kFirst, 17}, {"keepdims"}, {"noop_with_empty_axes", 18}}},
    {"ReduceLogSumExp", 1, 2, {{"axes", kFirst, 17}, {"keepdims"}, {"noop_with_empty_axes", 18}}},
    {"ReduceMax", 1, 2, {{"axes", kFirst, 17}, {"keepdims"}, {"noop_with_empty_axes", 18}}},
    {"ReduceMean", 1, 2, {{"axes", kFirst, 17}, {"keepdims"}, {"noop_with_empty_axes", 18}}},
    {"ReduceMin", 1, 2, {{"axes", kFirst, 17}, {"keepdims"}, {"noop_with_empty_axes", 18}}},
    {"ReduceSum", 1, 2, {{"axes", kFirst, 12}, {"keepdims"}, {"noop_with_empty_axes", 13}}},
    {"ReduceSumSquare", 1, 2, {{"axes", kFirst, 17}, {"keepdims"}, {"noop_with_empty_axes", 18}}},
    {"Relu", 1, 1, {}},
    {"Reshape", 2, 2, {{"allowzero", 14}}},
    {"Resize",
     1,
     4,
     {{"antialias", 18},
      {"axes", 18},
      {"coordinate_transformation_mode", 11},
      {"cubic_coeff_a", 11},
      {"exclude_outside", 11},
      {"extrapolation_value", 11},
      {"keep_aspect_ratio_policy", 18},
      {"mode"},
      {"nearest_mode", 11}}},
    {"Selu", 1, 1, {{"alpha"}, {"gamma"}}},
    {"Shape", 1, 1, {{"start", 15}, {"end", 15}}},
    {"Sigmoid", 1, 1, {}},
    {"Slice", 1, 5, {{"axes", kFirst, 9}, {"ends", kFirst, 9}, {"starts", kFirst, 9}}},
    {"Softmax", 1, 1, {{"axis"}}},
    {"Softplus", 1, 1, {}},
    {"Softsign", 1, 1, {}},
    {"SpaceToDepth", 1, 1, {{"blocksize"}, {"mode", 28}}},
    {"Split", 1, 2, {{"axis"}, {"num_outputs", 18}, {"split", kFirst, 12}}},
    {"Sqrt", 1, 1, {}},
    {"Squeeze", 1, 2, {{"axes", kFirst, 12}}},
    {"Sub", 2, 2, {{"axis", kFirst, 6}, {"broadcast", kFirst, 6}}},
    {"Sum", 1, kAnyNumber, {}},
    {"Swish", 1, 1, {{"alpha"}}},
    {"Tanh", 1, 1, {}},
    {"Tile", 2, 2, {}},
    {"TopK", 1, 2, {{"axis"}, {"k", kFirst, 9}, {"largest", 11}, {"sorted", 11}}},
    {"Transpose", 1, 1, {{"perm"}}},
    {"Unsqueeze", 1, 2, {{"axes", kFirst, 12}}},
    {"Upsample", 1, 2, {{"mode"}, {"scales", kFirst, 8}}},
    {"Where", 3, 3, {}},
    // Only evaluated where all inputs are constants.
    {"CumSum", 2, 2, {{"exclusive"}, {"reverse"}}},
    {"Equal", 2, 2, {{"axis", kFirst, 6}, {"broadcast", kFirst, 6}}},
    {"If", 1, 1, {{"else_branch"}, {"then_branch"}}},
    {"Mod", 2, 2, {{"fmod"}}},
    {"NonZero", 1, 1, {}},
    {"Not", 1, 1, {}},
    {"Range", 3, 3, {}},
    {"ScatterND", 3, 3, {{"reduction", 16}}},
    {"Size", 1, 1, {}},
    // Of quantised networks, some of them ONNX Runtime's own.
    {"DequantizeLinear", 2, 3, {{"axis", 13}, {"block_size", 21}, {"output_dtype", 23}}},
    {"QGemm", 6, 9, {{"alpha"}, {"transA"}, {"transB"}}},
    {"QLinearAdd", 2, 8, {}},
    {"QLinearAveragePool",
     2,
     5,
     {{"auto_pad"}, {"ceil_mode"}, {"channels_last"}, {"count_include_pad"}, {"kernel_shape"}, {"pads"}, {"strides"}}},
    {"QLinearConcat", 5, kAnyNumber, {{"axis"}}},
    {"QLinearConv", 8, 9, {{"auto_pad"}, {"dilations"}, {"group"}, {"kernel_shape"}, {"pads"}, {"strides"}}},
    {"QLinearGlobalAveragePool", 2, 5, {{"channels_last"}}},
    {"QLinearLeakyRelu", 2, 5, {{"alpha"}}},
    {"QLinearMatMul", 8, 8, {}},
    {"QLinearMul", 2, 8, {}},
    {"QLinearReduceMean", 2, 5, {{"axes"}, {"keepdims"}}},
    {"QLinearSigmoid", 2, 5, {}},
    {"QLinearSoftmax", 2, 5, {{"axis"}, {"opset"}}},
    {"QuantizeLinear",
     2,
     3,
     {{"axis", 13}, {"block_size", 21}, {"output_dtype", 21}, {"precision", 23}, {"saturate", 19}}},
};

const Operator* find_operator(const std::string& name) {
  for (const Operator& row : kOperators) {
    if (name == row.name) return &row;
  }
  return nullptr;
}

Status check_attribute(const Operator& row, const std::string& name, int64_t opset) {
  for (const Attribute& known : row.attributes) {
    if (!known.name) break;
    if (name != known.name) continue;
    if (opset >= known.first_opset && opset <= known.last_opset) return {};
    const bool early = opset < known.first_opset;
    return invalid_model("attribute " + name + ": " + row.name + " has it " +
                         (early ? "from opset " + std::to_string(known.first_opset) + " on"
                                : "until opset " + std::to_string(known.last_opset)) +
                         ", the file has opset " + std::to_string(opset));
  }
  return invalid_model("attribute " + printable(name) + ": " + row.name + " has none of this name");
}

}  // namespace

Status check_against_specification(const onnx_ns::NodeProto& node, int64_t opset) {
  const Operator* row = find_operator(node.op_type());
  if (!row) return {};
  for (const auto& attribute : node.attribute()) {
    SPARSENET_RETURN_IF_ERROR(check_attribute(*row, attribute.name(), opset));
  }
  const int required =
      row->most_inputs == kAnyNumber ? std::max(node.input_size(), row->least_inputs) : row->least_inputs;
  for (int i = 0; i < required; ++i) {
    if (i >= node.input_size() || node.input(i).empty())
      return invalid_model("input " + std::to_string(i) + " is missing");
  }
  if (node.input_size() <= row->most_inputs) return {};
  return invalid_model("inputs: expected at most " + std::to_string(row->most_inputs) + ", found " +
                       std::to_string(node.input_size()));
}

}  // namespace sparsenet::converter

#include "graph/ops.h"

#include <string>

#include "graph/activations.h"
#include "graph/training_ops.h"

namespace sparsenet {
namespace {

constexpr size_t kMany = 4096;

constexpr size_t kNone = attrs_index<NoAttrs>();
constexpr size_t kTrain = attrs_index<TrainAttrsPointer>();

// In the order of the ops' numbers; activations have a table of their own.
const OpDefinition kOps[] = {
    {Op::kConv, "Conv", 2, 4, 2, 1, 1, attrs_index<ConvAttrs>(), true, infer_conv},
    {Op::kFullyConnected, "FullyConnected", 2, 3, 2, 1, 1, attrs_index<FullyConnectedAttrs>(), true,
     infer_fully_connected},
    {Op::kBatchNorm, "BatchNorm", 5, 5, 5, 1, 1, attrs_index<BatchNormAttrs>(), true, infer_batch_norm},
    {Op::kSoftmax, "Softmax", 1, 1, 1, 1, 1, attrs_index<AxisAttrs>(), true, infer_softmax},
    {Op::kConcat, "Concat", 1, kMany, 1, 1, 1, attrs_index<AxisAttrs>(), true, infer_concat},
    {Op::kSplit, "Split", 1, 1, 1, 1, kMany, attrs_index<SplitAttrs>(), true, infer_split},
    {Op::kSlice, "Slice", 1, 1, 1, 1, 1, attrs_index<SliceAttrs>(), true, infer_slice},
    {Op::kPad, "Pad", 1, 1, 1, 1, 1, attrs_index<PadAttrs>(), true, infer_pad},
    {Op::kAdd, "Add", 2, 2, 2, 1, 1, kNone, true, infer_binary},
    {Op::kSub, "Sub", 2, 2, 2, 1, 1, kNone, true, infer_binary},
    {Op::kMul, "Mul", 2, 2, 2, 1, 1, kNone, true, infer_binary},
    {Op::kDiv, "Div", 2, 2, 2, 1, 1, kNone, true, infer_binary},
    {Op::kMaxPool, "MaxPool", 1, 1, 1, 1, 1, attrs_index<PoolAttrs>(), true, infer_pool},
    {Op::kAveragePool, "AveragePool", 1, 1, 1, 1, 1, attrs_index<PoolAttrs>(), true, infer_pool},
    {Op::kGlobalAveragePool, "GlobalAveragePool", 1, 1, 1, 1, 1, kNone, true, infer_global_average_pool},
    {Op::kReduceMean, "ReduceMean", 1, 1, 1, 1, 1, attrs_index<ReduceAttrs>(), true, infer_reduce_mean},
    {Op::kReshape, "Reshape", 1, 1, 1, 1, 1, attrs_index<ReshapeAttrs>(), true, infer_reshape},
    {Op::kTranspose, "Transpose", 1, 1, 1, 1, 1, attrs_index<TransposeAttrs>(), true, infer_transpose},
    {Op::kIdentity, "Identity", 1, 1, 1, 1, 1, kNone, true, infer_unary},
    {Op::kExp, "Exp", 1, 1, 1, 1, 1, kNone, true, infer_unary},
    {Op::kLog, "Log", 1, 1, 1, 1, 1, kNone, true, infer_unary},
    {Op::kPow, "Pow", 1, 1, 1, 1, 1, attrs_index<AlphaBetaAttrs>(), true, infer_activation},
    {Op::kMax, "Max", 2, 2, 2, 1, 1, kNone, true, infer_binary},
    {Op::kMin, "Min", 2, 2, 2, 1, 1, kNone, true, infer_binary},
    {Op::kPrelu, "Prelu", 2, 2, 2, 1, 1, kNone, true, infer_binary},
    {Op::kMatMul, "MatMul", 2, 2, 2, 1, 1, kNone, true, infer_mat_mul},
    {Op::kLayerNorm, "LayerNorm", 1, 3, 1, 1, 1, attrs_index<BatchNormAttrs>(), true, infer_layer_norm},
    {Op::kQuantize, "Quantize", 1, 1, 1, 1, 1, kNone, true, infer_unary},
    {Op::kDequantize, "Dequantize", 1, 1, 1, 1, 1, kNone, true, infer_unary},
    {Op::kScale, "Scale", 3, 3, 3, 1, 1, kNone, true, infer_scale},
    {Op::kAffine, "Affine", 3, 3, 3, 1, 1, attrs_index<AffineAttrs>(), false, infer_affine},
    {Op::kAttention, "Attention", 5, 9, 5, 1, 1, attrs_index<AttentionAttrs>(), false, infer_attention},
    {TrainOp::kBatchStats, "BatchStats", 1, 1, 1, 1, 1, kTrain, false, infer_train},
    {TrainOp::kFoldStats, "FoldStats", 3, 3, 3, 1, 1, kTrain, false, infer_train},
    {TrainOp::kNormalize, "Normalize", 2, 2, 2, 1, 1, kTrain, false, infer_train},
    {TrainOp::kUpdateRunning, "UpdateRunning", 3, 3, 3, 0, 0, kTrain, false, infer_train},
    {TrainOp::kNormalizeGrad, "NormalizeGrad", 3, 5, 3, 1, 2, kTrain, false, infer_train},
    {TrainOp::kFoldStatsGrad, "FoldStatsGrad", 4, 4, 4, 2, 2, kTrain, false, infer_train},
    {TrainOp::kBatchStatsGrad, "BatchStatsGrad", 4, 4, 4, 0, 0, kTrain, false, infer_train},
    {TrainOp::kConvGradWeight, "ConvGradWeight", 2, 2, 2, 1, 2, kTrain, false, infer_train},
    {TrainOp::kConvGradInput, "ConvGradInput", 2, 2, 2, 1, 1, kTrain, false, infer_train},
    {TrainOp::kActivationGrad, "ActivationGrad", 2, 2, 2, 1, 1, kTrain, false, infer_train},
    {TrainOp::kMaxPoolGrad, "MaxPoolGrad", 2, 2, 2, 1, 1, kTrain, false, infer_train},
    {TrainOp::kAveragePoolGrad, "AveragePoolGrad", 1, 1, 1, 1, 1, kTrain, false, infer_train},
    {TrainOp::kSoftmaxGrad, "SoftmaxGrad", 2, 2, 2, 1, 1, kTrain, false, infer_train},
    {TrainOp::kReduceSum, "ReduceSum", 1, 1, 1, 1, 1, kTrain, false, infer_train},
    {TrainOp::kExpand, "Expand", 1, 1, 1, 1, 1, kTrain, false, infer_train},
    {TrainOp::kExpandPixels, "ExpandPixels", 1, 2, 1, 0, 1, kTrain, false, infer_train},
    {TrainOp::kDotPixels, "DotPixels", 2, 2, 2, 1, 1, kTrain, false, infer_train},
    {TrainOp::kScalePixels, "ScalePixels", 2, 2, 2, 1, 1, kTrain, false, infer_train},
    {TrainOp::kFill, "Fill", 0, 0, 0, 1, 1, kTrain, false, infer_train},
    {TrainOp::kAccumulate, "Accumulate", 2, 2, 2, 0, 0, kTrain, false, infer_train},
    {TrainOp::kCrossEntropy, "CrossEntropy", 2, 2, 2, 2, 2, kTrain, false, infer_train},
    {TrainOp::kSquareSum, "SquareSum", 2, 2, 2, 0, 0, kTrain, false, infer_train},
    {TrainOp::kUpdateSgd, "UpdateSgd", 4, 4, 4, 0, 0, kTrain, false, infer_train},
    {TrainOp::kUpdateAdam, "UpdateAdam", 5, 5, 5, 0, 0, kTrain, false, infer_train},
    {TrainOp::kSliceGrad, "SliceGrad", 1, 1, 1, 1, 1, kTrain, false, infer_train},
    {TrainOp::kFakeQuantize, "FakeQuantize", 1, 1, 1, 1, 1, kTrain, false, infer_train},
    {TrainOp::kRoundWeight, "RoundWeight", 2, 2, 2, 1, 1, kTrain, false, infer_train},
};

}  // namespace

const OpDefinition* find_op(Op op) {
  for (const OpDefinition& definition : kOps) {
    if (definition.op == op) return &definition;
  }
  const ActivationRow* activation = find_activation(op);
  return activation ? &activation->op : nullptr;
}

const char* name(Op op) {
  const OpDefinition* definition = find_op(op);
  return definition ? definition->name : "unknown op";
}

std::string describe(const Node& node) {
  return std::string(name(node.op)) + " '" + node.name + "'";
}

Status infer_node(const Graph& graph, const Node& node, std::vector<Shape>* outputs) {
  const OpDefinition* definition = find_op(node.op);
  if (!definition) {
    return invalid_model("node '" + node.name + "': unknown op number " + std::to_string(static_cast<int>(node.op)));
  }
  const std::string where = describe(node);
  if (node.inputs.size() < definition->min_inputs || node.inputs.size() > definition->max_inputs) {
    return invalid_model(where + ": expected " + std::to_string(definition->min_inputs) + " to " +
                         std::to_string(definition->max_inputs) + " inputs, found " +
                         std::to_string(node.inputs.size()));
  }
  const bool variadic = definition->max_inputs == kMany;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == kNoValue && (i < definition->required || variadic)) {
      return invalid_model(where + ": input " + std::to_string(i) + " is required but absent");
    }
  }
  if (node.attrs.index() != definition->attrs_index) return invalid_model(where + ": attributes of another op");
  if (node.outputs.size() < definition->min_outputs || node.outputs.size() > definition->max_outputs) {
    const std::string least = std::to_string(definition->min_outputs), most = std::to_string(definition->max_outputs);
    return invalid_model(where + ": expected " + (least == most ? least : least + " to " + most) +
                         (most == "1" ? " output" : " outputs") + ", found " + std::to_string(node.outputs.size()));
  }
  ShapeContext context{graph, node, {}};
  context.outputs.resize(node.outputs.size());
  const Status status = definition->infer(context);
  if (!status.ok()) return status.with_context(where);
  for (const Shape& shape : context.outputs) {
    const int64_t count = element_count(shape);
    if (count <= 0) return invalid_model(where + ": output shape " + to_string(shape) + " is empty or too large");
  }
  *outputs = std::move(context.outputs);
  return {};
}

int64_t node_macs(const Graph& graph, const Node& node) {
  if (node.outputs.empty() || node.inputs.size() < 2) return 0;
  const Shape& out = graph.shape(node.outputs[0]);
  if (node.op == Op::kMatMul) {
    const Shape& left = graph.shape(node.inputs[0]);
    return left.empty() ? 0 : element_count(out) * left.back();
  }
  const Shape& weight = graph.shape(node.inputs[1]);
  if (node.op == Op::kConv && weight.size() == 4) {
    return element_count(out) * weight[1] * weight[2] * weight[3];
  }
  if (node.op == Op::kFullyConnected && weight.size() == 2) return element_count(out) * weight[1];
  return 0;
}

}  // namespace sparsenet

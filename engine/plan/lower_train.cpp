// Lowering of the training ops. Most become one step whose operands are those of the node, in the same order.
#include <utility>

#include "graph/ops.h"
#include "graph/training_ops.h"
#include "plan/lower.h"

namespace sparsenet {
namespace {

// How the operands of a step are read, one letter per input: 'v' as any channel ranges, 'd' as dense.
struct OperandRow {
  Op op;
  rt::StepOp step;
  const char* inputs;
  bool share;  // the last output may take over the memory of input 0
};

const OperandRow kOperandRows[] = {
    {TrainOp::kBatchStats, rt::StepOp::kBatchStats, "v", false},
    {TrainOp::kFoldStats, rt::StepOp::kFoldStats, "vdd", false},
    {TrainOp::kUpdateRunning, rt::StepOp::kUpdateRunning, "vdd", false},
    {TrainOp::kNormalizeGrad, rt::StepOp::kNormalizeGrad, "dvdvv", true},
    {TrainOp::kFoldStatsGrad, rt::StepOp::kFoldStatsGrad, "dvdv", false},
    {TrainOp::kBatchStatsGrad, rt::StepOp::kBatchStatsGrad, "vvvv", false},
    {TrainOp::kActivationGrad, rt::StepOp::kActivationGrad, "dd", true},
    {TrainOp::kMaxPoolGrad, rt::StepOp::kMaxPoolGrad, "dd", false},
    {TrainOp::kAveragePoolGrad, rt::StepOp::kAveragePoolGrad, "d", false},
    {TrainOp::kExpandPixels, rt::StepOp::kExpandPixels, "dv", false},
    {TrainOp::kDotPixels, rt::StepOp::kDotPixels, "vv", false},
    {TrainOp::kScalePixels, rt::StepOp::kScalePixels, "vd", true},
    {TrainOp::kFill, rt::StepOp::kFill, "", false},
    {TrainOp::kAccumulate, rt::StepOp::kAccumulate, "vv", false},
    {TrainOp::kCrossEntropy, rt::StepOp::kCrossEntropy, "dd", false},
    {TrainOp::kSquareSum, rt::StepOp::kSquareSum, "dd", false},
    {TrainOp::kUpdateSgd, rt::StepOp::kUpdateSgd, "dddd", false},
    {TrainOp::kUpdateAdam, rt::StepOp::kUpdateAdam, "ddddd", false},
    {TrainOp::kRoundWeight, rt::StepOp::kRoundWeight, "dd", false},
};

}  // namespace

void Lowering::find_fused_gradients() {
  fused_gradients_.assign(graph_.values.size(), false);
  for (const Node& node : graph_.nodes) {
    if (node.op != TrainOp::kNormalizeGrad) continue;
    const auto dy = static_cast<size_t>(node.inputs[0]);
    const Node* maker = producer_[dy];
    if (!maker || maker->op != TrainOp::kConvGradInput || uses_[dy] != 1) continue;
    const ConvAttrs& c = train_attrs(*maker).conv;
    const std::array<int32_t, 2> one{1, 1};
    fused_gradients_[dy] =
        c.kernel == one && c.stride == one && c.groups == 1 && c.pads == std::array<int32_t, 4>{0, 0, 0, 0};
  }
}

Status Lowering::lower_training(const Node& node) {
  if (node.op == TrainOp::kNormalize) return lower_normalize(node);
  if (node.op == TrainOp::kConvGradWeight) return lower_conv_grad_weight(node);
  if (node.op == TrainOp::kConvGradInput) return lower_conv_grad_input(node);
  if (node.op == TrainOp::kSoftmaxGrad) return lower_softmax_grad(node);
  if (node.op == TrainOp::kReduceSum) return lower_reduce_sum(node);
  if (node.op == TrainOp::kExpand) return lower_expand(node);
  if (node.op == TrainOp::kSliceGrad) return lower_slice_grad(node);
  if (node.op == TrainOp::kFakeQuantize) return lower_fake_quantize(node);
  return lower_operands(node);
}

Status Lowering::lower_operands(const Node& node) {
  const OperandRow* row = nullptr;
  for (const OperandRow& candidate : kOperandRows) {
    if (candidate.op == node.op) row = &candidate;
  }
  if (!row) return internal_error(describe(node) + ": not lowered");
  const auto& a = train_attrs(node);
  Draft draft = start(node, row->step);
  draft.step.train.epsilon = a.epsilon;
  draft.step.train.alpha = a.alpha;
  draft.step.train.beta = a.beta;
  draft.step.act = to_act(a.activation);
  set_window(a.pool, &draft.step);
  const bool fused = node.op == TrainOp::kNormalizeGrad && fused_gradients_[static_cast<size_t>(node.inputs[0])];
  if (fused) {
    const Node& conv = *producer_[static_cast<size_t>(node.inputs[0])];
    SPARSENET_ASSIGN_OR_RETURN(draft.in, dense(conv.inputs[0], conv));
    SPARSENET_RETURN_IF_ERROR(parameter(conv, 1, rt::ParamSlot::kWeight, &draft));
    const Shape& w = shape(conv.inputs[1]);
    draft.macs = element_count(shape(conv.inputs[0])) * (element_count(w) / w[0]);
  }
  for (size_t i = 0; row->inputs[i] != '\0'; ++i) {
    if (i == 0 && fused) {
      draft.operands.emplace_back();
      continue;
    }
    if (i >= node.inputs.size() || node.inputs[i] == kNoValue) {
      draft.operands.emplace_back();
      continue;
    }
    SPARSENET_ASSIGN_OR_RETURN(Lowered v, row->inputs[i] == 'd' ? dense(node.inputs[i], node) : value(node.inputs[i]));
    draft.operands.push_back(v);
  }
  if (node.op == TrainOp::kBatchStatsGrad || node.op == TrainOp::kNormalizeGrad || node.op == TrainOp::kExpandPixels) {
    draft.step.train.accumulate = node.inputs.size() == std::string(row->inputs).size();
  }
  for (ValueId id : node.outputs) {
    Lowered& known = values_[static_cast<size_t>(id)];
    known = new_value(id);
    draft.operands.push_back(known);
  }
  if (row->share && !draft.step.train.accumulate && !node.outputs.empty() && !fused) {
    draft.in = draft.operands[0];
    if (node.inputs.size() > 1) draft.in2 = draft.operands[1];
    draft.out = draft.operands.back();
    draft.share_in = true;
  }
  finish(std::move(draft));
  return {};
}

Status Lowering::lower_normalize(const Node& node) {
  Draft draft = start(node, rt::StepOp::kAffine);
  SPARSENET_ASSIGN_OR_RETURN(draft.in, value(node.inputs[0]));
  SPARSENET_RETURN_IF_ERROR(set_affine(node, &draft));
  draft.step.act = to_act(train_attrs(node).activation);
  draft.share_in = true;
  draft.out = new_value(node.outputs[0]);
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

Status Lowering::lower_fake_quantize(const Node& node) {
  const auto& a = train_attrs(node);
  Draft draft = start(node, rt::StepOp::kFakeQuantize);
  SPARSENET_RETURN_IF_ERROR(input_with_pre(node, &draft));
  draft.step.act = to_act(a.activation);
  draft.step.train.alpha = a.alpha;
  draft.step.train.beta = a.beta;
  draft.step.train.epsilon = a.epsilon;
  draft.share_in = true;
  draft.out = new_value(node.outputs[0]);
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

Status Lowering::lower_conv_grad_weight(const Node& node) {
  Draft draft = start(node, rt::StepOp::kConvGradWeight);
  SPARSENET_RETURN_IF_ERROR(input_with_pre(node, &draft));
  SPARSENET_ASSIGN_OR_RETURN(draft.in2, dense(node.inputs[1], node));
  set_window(train_attrs(node).conv, &draft.step);
  draft.out = new_value(node.outputs[0]);
  // Row-major in the weight's own shape, wherever it lies.
  Lowered& out = draft.out;
  out = Lowered{1, 1, 1, static_cast<int32_t>(element_count(shape(node.outputs[0]))), out.type, out.pieces, true};
  out.pieces[0].channels = out.pieces[0].pixel_stride = out.c;
  values_[static_cast<size_t>(node.outputs[0])] = out;
  if (node.outputs.size() > 1) {
    draft.operands.push_back(new_value(node.outputs[1]));
    values_[static_cast<size_t>(node.outputs[1])] = draft.operands.back();
  }
  draft.macs =
      element_count(shape(node.inputs[1])) * (element_count(shape(node.outputs[0])) / shape(node.outputs[0])[0]);
  finish(std::move(draft));
  return {};
}

// A convolution of dy with the transposed weight if the stride is 1 and no padding would become negative; otherwise a
// step of its own.
Status Lowering::lower_conv_grad_input(const Node& node) {
  const ConvAttrs& c = train_attrs(node).conv;
  ConvAttrs back = c;
  bool plain = c.stride[0] == 1 && c.stride[1] == 1;
  for (size_t i = 0; i < 4; ++i) {
    back.pads[i] = c.dilation[i % 2] * (c.kernel[i % 2] - 1) - c.pads[i];
    plain = plain && back.pads[i] >= 0;
  }
  Draft draft = start(node, plain ? rt::StepOp::kConv : rt::StepOp::kConvGradInput);
  SPARSENET_ASSIGN_OR_RETURN(draft.in, plain ? value(node.inputs[0]) : dense(node.inputs[0], node));
  SPARSENET_RETURN_IF_ERROR(parameter(node, 1, rt::ParamSlot::kWeight, &draft));
  draft.step.conv.transposed = plain;
  set_window(plain ? back : c, &draft.step);
  draft.out = new_value(node.outputs[0]);
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  const Shape& w = shape(node.inputs[1]);
  draft.macs = element_count(shape(node.inputs[0])) * (element_count(w) / w[0]);
  finish(std::move(draft));
  return {};
}

Status Lowering::lower_softmax_grad(const Node& node) {
  const Shape& s = shape(node.inputs[0]);
  if (s.size() > rt::kMaxDims) return unsupported(describe(node) + ": expected at most rank 8, found " + to_string(s));
  SPARSENET_ASSIGN_OR_RETURN(const Lowered dy, dense(node.inputs[0], node));
  SPARSENET_ASSIGN_OR_RETURN(const Lowered y, dense(node.inputs[1], node));
  Draft draft = start(node, rt::StepOp::kSoftmaxGrad);
  draft.in = dy;
  draft.in2 = y;
  draft.out = new_value(node.outputs[0]);
  const auto axis = static_cast<size_t>(train_attrs(node).axis);
  const std::vector<int64_t> a = physical_strides(s, dy), b = physical_strides(s, y),
                             to = physical_strides(s, draft.out);
  rt::Strided st{};
  st.rank = static_cast<int32_t>(s.size());
  size_t d = 0;
  auto put = [&](size_t logical) {
    st.dims[d] = s[logical];
    st.out_strides[d] = to[logical];
    st.in_strides[0][d] = a[logical];
    st.in_strides[1][d] = b[logical];
    ++d;
  };
  for (size_t i = 0; i < s.size(); ++i) {
    if (i != axis) put(i);
  }
  put(axis);
  st.reduced_from = st.rank - 1;
  plan_.strided.push_back(st);
  draft.step.strided = &plan_.strided.back();
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

// Sums over the dimensions of x that are 1 in the result or missing there (the leading ones).
Status Lowering::lower_reduce_sum(const Node& node) {
  const Shape& s = shape(node.inputs[0]);
  const Shape& t = shape(node.outputs[0]);
  if (s.size() > rt::kMaxDims) return unsupported(describe(node) + ": expected at most rank 8, found " + to_string(s));
  SPARSENET_ASSIGN_OR_RETURN(Lowered in, dense(node.inputs[0], node));
  Draft draft = start(node, rt::StepOp::kReduceSum);
  draft.step.train.alpha = train_attrs(node).alpha;
  draft.in = in;
  draft.out = new_value(node.outputs[0]);
  const std::vector<int64_t> from = physical_strides(s, in), to = physical_strides(t, draft.out);
  const size_t missing = s.size() - t.size();
  auto reduced = [&](size_t i) { return i < missing || t[i - missing] != s[i]; };
  rt::Strided st{};
  st.rank = static_cast<int32_t>(s.size());
  size_t d = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    if (reduced(i)) continue;
    st.dims[d] = s[i];
    st.in_strides[0][d] = from[i];
    st.out_strides[d] = to[i - missing];
    ++d;
  }
  st.reduced_from = static_cast<int32_t>(d);
  for (size_t i = 0; i < s.size(); ++i) {
    if (!reduced(i)) continue;
    st.dims[d] = s[i];
    st.in_strides[0][d] = from[i];
    ++d;
  }
  plan_.strided.push_back(st);
  draft.step.strided = &plan_.strided.back();
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

Status Lowering::lower_expand(const Node& node) {
  const Shape& s = shape(node.inputs[0]);
  const Shape& t = shape(node.outputs[0]);
  if (t.size() > rt::kMaxDims) return unsupported(describe(node) + ": expected at most rank 8, found " + to_string(t));
  SPARSENET_ASSIGN_OR_RETURN(Lowered in, dense(node.inputs[0], node));
  Draft draft = start(node, rt::StepOp::kExpand);
  draft.step.train.alpha = train_attrs(node).alpha;
  draft.in = in;
  draft.out = new_value(node.outputs[0]);
  const std::vector<int64_t> from = physical_strides(s, in), to = physical_strides(t, draft.out);
  const size_t missing = t.size() - s.size();
  rt::Strided st{};
  st.rank = static_cast<int32_t>(t.size());
  for (size_t i = 0; i < t.size(); ++i) {
    st.dims[i] = t[i];
    st.out_strides[i] = to[i];
    st.in_strides[0][i] = i < missing || s[i - missing] == 1 ? 0 : from[i - missing];
  }
  plan_.strided.push_back(st);
  draft.step.strided = &plan_.strided.back();
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

// The gradient is dy at the elements that the slice took and zero elsewhere.
Status Lowering::lower_slice_grad(const Node& node) {
  const SliceAttrs& a = train_attrs(node).slice;
  const Shape& s = shape(node.inputs[0]);
  const Shape& t = shape(node.outputs[0]);
  if (s.size() > rt::kMaxDims) return unsupported(describe(node) + ": expected at most rank 8, found " + to_string(s));
  SPARSENET_ASSIGN_OR_RETURN(Lowered in, dense(node.inputs[0], node));
  const Lowered out = new_value(node.outputs[0]);
  const std::vector<int64_t> from = physical_strides(s, in), to = physical_strides(t, out);
  rt::Strided st{};
  st.rank = static_cast<int32_t>(s.size());
  for (size_t d = 0; d < s.size(); ++d) {
    st.dims[d] = s[d];
    st.out_strides[d] = to[d];
    st.in_strides[0][d] = from[d];
  }
  for (size_t i = 0; i < a.axes.size(); ++i) {
    const auto axis = static_cast<size_t>(a.axes[i]);
    st.out_start += to[axis] * a.starts[i];
    st.out_strides[axis] *= a.steps[i];
  }
  st.fill_first = true;
  st.fill_value = 0;
  st.out_elements = element_count(t);
  SPARSENET_RETURN_IF_ERROR(strided_copy(node, in, out, st));
  values_[static_cast<size_t>(node.outputs[0])] = out;
  return {};
}

}  // namespace sparsenet

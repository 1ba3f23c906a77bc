// Lowering of the ops that compute on pixels and channels.
#include <utility>

#include "graph/activations.h"
#include "plan/lower.h"

namespace sparsenet {

Status Lowering::lower_node(const Node& node) {
  switch (node.op) {
    case Op::kConv:
      return lower_conv(node);
    case Op::kFullyConnected:
      return lower_fully_connected(node);
    case Op::kMaxPool:
    case Op::kAveragePool:
      return lower_pool(node);
    case Op::kGlobalAveragePool:
      return lower_global_pool(node);
    case Op::kAffine:
      return lower_affine(node);
    case Op::kAdd:
    case Op::kSub:
    case Op::kMul:
    case Op::kDiv:
    case Op::kMax:
    case Op::kMin:
    case Op::kPrelu:
      return lower_binary(node);
    case Op::kMatMul:
      return lower_mat_mul(node);
    case Op::kLayerNorm:
      return lower_layer_norm(node);
    case Op::kExp:
    case Op::kLog:
    case Op::kPow:
      return lower_unary(node);
    case Op::kAttention:
      return lower_attention(node);
    case Op::kSoftmax:
      return lower_softmax(node);
    case Op::kReduceMean:
      return lower_reduce_mean(node);
    case Op::kConcat:
      return lower_concat(node);
    case Op::kSplit:
      return lower_split(node);
    case Op::kSlice:
      return lower_slice(node);
    case Op::kPad:
      return lower_pad(node);
    case Op::kReshape:
      return lower_reshape(node);
    case Op::kTranspose:
      return lower_transpose(node);
    case Op::kIdentity: {
      SPARSENET_ASSIGN_OR_RETURN(Lowered v, value(node.inputs[0]));
      values_[static_cast<size_t>(node.outputs[0])] = v;
      return {};
    }
    case Op::kBatchNorm:
      break;
    default:
      return find_activation(node.op) ? lower_unary(node) : lower_training(node);
  }
  return internal_error(describe(node) + ": not lowered; the passes should have replaced it");
}

namespace {

// What windows of convolutions and pools have in common.
template <class Attrs>
void set_sizes(const Attrs& a, rt::Window* w) {
  w->kernel_h = a.kernel[0];
  w->kernel_w = a.kernel[1];
  w->stride_h = a.stride[0];
  w->stride_w = a.stride[1];
  w->pad_top = a.pads[0];
  w->pad_left = a.pads[1];
  w->pad_bottom = a.pads[2];
  w->pad_right = a.pads[3];
}

}  // namespace

void Lowering::set_window(const ConvAttrs& a, rt::Step* s) const {
  set_sizes(a, &s->window);
  s->window.dilation_h = a.dilation[0];
  s->window.dilation_w = a.dilation[1];
  s->conv.groups = a.groups;
}

void Lowering::set_window(const PoolAttrs& a, rt::Step* s) const {
  set_sizes(a, &s->window);
  s->pool.count_include_pad = a.count_include_pad;
}

Status Lowering::lower_conv(const Node& node) {
  const auto& a = std::get<ConvAttrs>(node.attrs);
  Draft draft = start(node, rt::StepOp::kConv);
  SPARSENET_RETURN_IF_ERROR(input_with_pre(node, &draft));
  SPARSENET_RETURN_IF_ERROR(parameter(node, 1, rt::ParamSlot::kWeight, &draft));
  SPARSENET_RETURN_IF_ERROR(parameter(node, 2, rt::ParamSlot::kBias, &draft));
  rt::Step& s = draft.step;
  set_window(a, &s);
  s.act = to_act(a.activation);
  if (node.inputs.size() > 3 && node.inputs[3] != kNoValue) {
    SPARSENET_ASSIGN_OR_RETURN(draft.in2, dense(node.inputs[3], node));
    draft.share_in2 = true;
  }
  draft.out = new_value(node.outputs[0]);
  draft.macs = node_macs(graph_, node);
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

Status Lowering::lower_fully_connected(const Node& node) {
  Draft draft = start(node, rt::StepOp::kConv);
  SPARSENET_RETURN_IF_ERROR(input_with_pre(node, &draft));
  SPARSENET_RETURN_IF_ERROR(parameter(node, 1, rt::ParamSlot::kWeight, &draft));
  SPARSENET_RETURN_IF_ERROR(parameter(node, 2, rt::ParamSlot::kBias, &draft));
  draft.step.act = to_act(std::get<FullyConnectedAttrs>(node.attrs).activation);
  draft.out = new_value(node.outputs[0]);
  draft.macs = node_macs(graph_, node);
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

Status Lowering::lower_pool(const Node& node) {
  const auto& a = std::get<PoolAttrs>(node.attrs);
  Draft draft = start(node, rt::StepOp::kPool);
  SPARSENET_RETURN_IF_ERROR(input_with_pre(node, &draft));
  rt::Step& s = draft.step;
  s.pool.max = node.op == Op::kMaxPool;
  set_window(a, &s);
  draft.out = new_value(node.outputs[0]);
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

Status Lowering::lower_global_pool(const Node& node) {
  Draft draft = start(node, rt::StepOp::kGlobalPool);
  SPARSENET_RETURN_IF_ERROR(input_with_pre(node, &draft));
  draft.out = new_value(node.outputs[0]);
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

Status Lowering::lower_affine(const Node& node) {
  const Shape& s = shape(node.inputs[0]);
  if (s.size() != 4 && s.size() != 2) {
    return unsupported(describe(node) + ": expected an input of rank 2 or 4, found " + to_string(s));
  }
  Draft draft = start(node, rt::StepOp::kAffine);
  SPARSENET_ASSIGN_OR_RETURN(draft.in, value(node.inputs[0]));
  SPARSENET_ASSIGN_OR_RETURN(draft.step.affine.scale, constant(node, 1, ReadIn::kRun));
  SPARSENET_ASSIGN_OR_RETURN(draft.step.affine.shift, constant(node, 2, ReadIn::kRun));
  draft.step.act = to_act(std::get<AffineAttrs>(node.attrs).activation);
  draft.share_in = true;
  draft.out = new_value(node.outputs[0]);
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

Status Lowering::lower_unary(const Node& node) {
  Draft draft = start(node, rt::StepOp::kUnary);
  SPARSENET_ASSIGN_OR_RETURN(draft.in, value(node.inputs[0]));
  rt::Act& act = draft.step.act;
  if (Activation activation; is_activation(node, &activation)) {
    act = to_act(activation);
  } else {
    act.kind = node.op == Op::kExp ? rt::Act::kExp : node.op == Op::kLog ? rt::Act::kLog : rt::Act::kPow;
    if (node.op == Op::kPow) act.alpha = std::get<AlphaBetaAttrs>(node.attrs).alpha;
  }
  draft.share_in = true;
  draft.out = new_value(node.outputs[0]);
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

Status Lowering::lower_layer_norm(const Node& node) {
  Draft draft = start(node, rt::StepOp::kLayerNorm);
  SPARSENET_ASSIGN_OR_RETURN(draft.in, dense(node.inputs[0], node));
  draft.out = new_value(node.outputs[0]);
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  const Shape& s = shape(node.inputs[0]);
  if (s.size() == 3) {  // tokens are pixels in a row
    for (Lowered* v : {&draft.in, &draft.out}) {
      v->n = static_cast<int32_t>(s[0]);
      v->w = static_cast<int32_t>(s[1]);
      v->c = v->pieces[0].channels = v->pieces[0].pixel_stride = static_cast<int32_t>(s[2]);
    }
  }
  SPARSENET_ASSIGN_OR_RETURN(draft.step.affine.scale, constant(node, 1, ReadIn::kRun));
  SPARSENET_ASSIGN_OR_RETURN(draft.step.affine.shift, constant(node, 2, ReadIn::kRun));
  for (rt::Parameter* p : {&draft.step.affine.scale, &draft.step.affine.shift}) {
    if (*p || (!draft.step.affine.scale && !draft.step.affine.shift)) continue;
    plan_.constants.emplace_back(static_cast<size_t>(draft.in.c), p == &draft.step.affine.scale ? 1.f : 0.f);
    *p = {plan_.constants.back().data()};
  }
  draft.step.train.alpha = std::get<BatchNormAttrs>(node.attrs).epsilon;
  draft.share_in = true;
  finish(std::move(draft));
  return {};
}

Status Lowering::lower_attention(const Node& node) {
  const auto& a = std::get<AttentionAttrs>(node.attrs);
  Draft draft = start(node, rt::StepOp::kAttention);
  SPARSENET_ASSIGN_OR_RETURN(draft.in, dense(node.inputs[0], node));
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    SPARSENET_ASSIGN_OR_RETURN(draft.step.attention.params[i - 1], constant(node, i));
  }
  draft.step.attention.hidden =
      a.kind == AttentionAttrs::Kind::kPaper ? 0 : static_cast<int32_t>(shape(node.inputs[1])[0]);
  draft.step.attention.act = to_act(a.activation);
  draft.step.attention.gate = to_act(a.gate);
  draft.share_in = true;
  draft.out = new_value(node.outputs[0]);
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

}  // namespace sparsenet

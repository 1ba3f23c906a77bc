// Lowering of nodes that compute with integers. Their steps are those of float32 with QuantParams; here scales become
// multipliers and real bounds become integers. The factors are those of TensorFlow Lite's quantisation specification
// and reference kernels.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "graph/integers.h"
#include "graph/ops.h"
#include "plan/lower.h"
#include "plan/multiplier.h"

namespace sparsenet {
namespace {

constexpr int64_t kMostSteps = 255;           // between an integer and a zero point
constexpr int64_t kMostProbabilities = 4095;  // a Softmax adds them with 12 bits in front of the point

double scale_of(const Value& value) {
  return static_cast<double>(value.quantization.scales[0]);
}

bool same_quantization(const Value& a, const Value& b) {
  return a.quantization.scales == b.quantization.scales && a.quantization.zero_points == b.quantization.zero_points;
}

// What the activation leaves of the integers of a value.
void set_bounds(const Activation& activation, const Value& out, rt::QuantParams* quant) {
  if (activation.kind == Activation::Kind::kNone) return;
  const bool relu = activation.kind == Activation::Kind::kRelu;
  quant->low = integer_of(relu ? 0.f : activation.a, out);
  if (!relu) quant->high = integer_of(activation.b, out);
}

Activation activation_of(const Node& node) {
  if (const auto* conv = std::get_if<ConvAttrs>(&node.attrs)) return conv->activation;
  if (const auto* fc = std::get_if<FullyConnectedAttrs>(&node.attrs)) return fc->activation;
  if (node.op == Op::kRelu) return {Activation::Kind::kRelu, 0, 0};
  if (const auto* clip = std::get_if<ClipAttrs>(&node.attrs)) return {Activation::Kind::kClip, clip->low, clip->high};
  return {};
}

// Numbers are multiplied in 32 bits, and the output's zero point is added: nothing may leave these, whatever the input.
Status check_products(const Node& node, const std::string& where, int64_t largest, const rt::Multiplier& multiplier) {
  const int32_t left = std::max(0, multiplier.shift);
  if (largest <= (INT32_MAX - 256) >> left) return {};
  return unsupported(describe(node) + where + ": expected sums that 32 bits hold, found up to " +
                     std::to_string(largest) + (left > 0 ? " times 2^" + std::to_string(left) : ""));
}

}  // namespace

// `largest`: of what will be multiplied. See check_products().
Status Lowering::set_multipliers(const Node& node, const std::vector<double>& factors, int64_t largest,
                                 rt::QuantParams* quant) {
  std::vector<rt::Multiplier> multipliers(factors.size());
  for (size_t i = 0; i < factors.size(); ++i) {
    if (!make_multiplier(factors[i], &multipliers[i])) {
      return unsupported(describe(node) + ": scales: expected factors below 2^30 between them, found " +
                         std::to_string(factors[i]));
    }
    SPARSENET_RETURN_IF_ERROR(check_products(node, "", largest, multipliers[i]));
  }
  plan_.multipliers.push_back(std::move(multipliers));
  quant->multipliers = plan_.multipliers.back().data();
  quant->multiplier_count = static_cast<int32_t>(factors.size());
  return {};
}

// Also makes sure that no sum can overflow, whatever the input is.
Status Lowering::conv_quant(const Node& node, rt::QuantParams* quant) {
  const Value &in = graph_.value(node.inputs[0]), &weight = graph_.value(node.inputs[1]),
              &out = graph_.value(node.outputs[0]);
  const auto outputs = static_cast<size_t>(weight.shape[0]);
  const std::vector<float>& scales = weight.quantization.scales;
  std::vector<double> factors(outputs);
  for (size_t o = 0; o < outputs; ++o) {
    factors[o] = scale_of(in) * static_cast<double>(scales[scales.size() > 1 ? o : 0]) / scale_of(out);
  }
  SPARSENET_RETURN_IF_ERROR(set_multipliers(node, factors, 0, quant));
  const auto* weights = static_cast<const int8_t*>(weight.constant.data);
  const bool biased = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
  const auto* bias = biased ? static_cast<const int32_t*>(graph_.value(node.inputs[2]).constant.data) : nullptr;
  const int64_t count = weight.constant.elements() / weight.shape[0];
  const int64_t farthest = std::max(127 - quant->in_zero, quant->in_zero + 128);
  for (size_t o = 0; o < outputs; ++o) {
    int64_t sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += std::abs(int{weights[static_cast<int64_t>(o) * count + i]});
    sum = sum * farthest + (bias ? std::abs(int64_t{bias[o]}) : 0);
    SPARSENET_RETURN_IF_ERROR(check_products(node, ": output " + std::to_string(o), sum, quant->multipliers[o]));
  }
  return {};
}

// Both operands are brought to twice the larger scale, with 20 more bits, and added.
Status Lowering::add_quant(const Node& node, rt::QuantParams* quant) {
  const double a = scale_of(graph_.value(node.inputs[0])), b = scale_of(graph_.value(node.inputs[1]));
  const double twice = 2 * std::max(a, b);
  quant->left_shift = 20;
  return set_multipliers(node, {a / twice, b / twice, twice / (1048576. * scale_of(graph_.value(node.outputs[0])))},
                         kMostSteps << quant->left_shift, quant);
}

Status Lowering::softmax_quant(const Node& node, rt::QuantParams* quant) {
  const Value& out = graph_.value(node.outputs[0]);
  if (out.quantization.scales[0] != 1.f / 256 || quant->out_zero != -128) {
    return unsupported(describe(node) + ": output: expected scale 1/256 and zero point -128, found " +
                       std::to_string(out.quantization.scales[0]) + " and " + std::to_string(quant->out_zero));
  }
  const int64_t elements = out.shape[static_cast<size_t>(std::get<AxisAttrs>(node.attrs).axis)];
  if (elements > kMostProbabilities) {
    return unsupported(describe(node) + ": expected at most " + std::to_string(kMostProbabilities) +
                       " elements along the axis, found " + std::to_string(elements));
  }
  // Differences become fixed-point numbers with 5 integer bits.
  constexpr int kIntegerBits = 5;
  const double factor = std::min(scale_of(graph_.value(node.inputs[0])) * (1 << (31 - kIntegerBits)), 2147483647.);
  SPARSENET_RETURN_IF_ERROR(set_multipliers(node, {factor}, 0, quant));
  const rt::Multiplier& m = quant->multipliers[0];
  if (m.shift < 0) return unsupported(describe(node) + ": input: expected a scale of at least 2^-27");
  quant->least = -static_cast<int32_t>(
      std::floor(double{(1 << kIntegerBits) - 1} * (1 << (31 - kIntegerBits)) / static_cast<double>(1LL << m.shift)));
  return {};
}

Status Lowering::quant_of(const Node& node, rt::QuantParams* quant) {
  const Value &in = graph_.value(node.inputs[0]), &out = graph_.value(node.outputs[0]);
  const auto zero = [](const Value& v) { return v.quantization.empty() ? 0 : v.quantization.zero_points[0]; };
  *quant = {};
  quant->rounding = static_cast<rt::Rounding>(node.rounding);
  quant->in_zero = zero(in);
  quant->out_zero = zero(out);
  quant->low = -128;
  quant->high = 127;
  set_bounds(activation_of(node), out, quant);
  switch (node.op) {
    case Op::kConv:
    case Op::kFullyConnected:
      return conv_quant(node, quant);
    case Op::kAdd:
    case Op::kSub:
      quant->in2_zero = zero(graph_.value(node.inputs[1]));
      return add_quant(node, quant);
    case Op::kMul:
      quant->in2_zero = zero(graph_.value(node.inputs[1]));
      return set_multipliers(node, {scale_of(in) * scale_of(graph_.value(node.inputs[1])) / scale_of(out)},
                             kMostSteps * kMostSteps, quant);
    case Op::kGlobalAveragePool: {
      const int64_t pixels = in.shape[2] * in.shape[3];
      const bool twice = node.rounding == Rounding::kDouble;
      const double out_pixels = scale_of(out) * static_cast<double>(twice ? 1 : pixels);
      SPARSENET_RETURN_IF_ERROR(set_multipliers(node, {scale_of(in) / out_pixels}, 0, quant));
      rt::Multiplier& multiplier = plan_.multipliers.back()[0];
      if (twice) multiplier = multiplier_of_mean(multiplier, pixels);
      return check_products(node, "", kMostSteps * pixels, multiplier);
    }
    case Op::kAveragePool: {
      const auto& window = std::get<PoolAttrs>(node.attrs).kernel;
      return check_products(node, "", int64_t{128} * (window[0] + 1) * (window[1] + 1), {});
    }
    case Op::kSoftmax:
      return softmax_quant(node, quant);
    case Op::kQuantize:
      if (in.type == DataType::kFloat32) {
        quant->scale = out.quantization.scales[0];
        return {};
      }
      [[fallthrough]];
    case Op::kRelu:
    case Op::kClip:
      return set_multipliers(node, {scale_of(in) / scale_of(out)}, kMostSteps, quant);
    case Op::kDequantize:
      quant->scale = in.quantization.scales[0];
      return {};
    default:
      return {};
  }
}

// The affine of a Scale, from the integers of its input, whose channels may have scales of their own, to those of its
// output.
Status Lowering::set_channel_scales(const Node& node, rt::QuantParams* quant) {
  const Value &in = graph_.value(node.inputs[0]), &out = graph_.value(node.outputs[0]);
  const std::vector<float> scale = to_float32(graph_.value(node.inputs[1]).constant),
                           shift = to_float32(graph_.value(node.inputs[2]).constant);
  const Quantization& q = in.quantization;
  std::vector<rt::ChannelScale> channels(scale.size());
  for (size_t c = 0; c < channels.size(); ++c) {
    if (!std::isfinite(scale[c]) || !std::isfinite(shift[c])) {
      return unsupported(describe(node) + ": channel " + std::to_string(c) +
                         ": expected a finite scale and shift, found " + std::to_string(scale[c]) + " and " +
                         std::to_string(shift[c]));
    }
    const size_t from = q.scales.size() > 1 ? c : 0;
    const double factor = static_cast<double>(q.scales[from]) * static_cast<double>(scale[c]) / scale_of(out);
    channels[c] = make_channel_scale(factor, out.quantization.zero_points[0] - factor * q.zero_points[from] +
                                                 static_cast<double>(shift[c]) / scale_of(out));
  }
  plan_.channel_scales.push_back(std::move(channels));
  quant->channels = plan_.channel_scales.back().data();
  return {};
}

Status Lowering::lower_scale(const Node& node) {
  SPARSENET_RETURN_IF_ERROR(set_channel_scales(node, quant_));
  Draft draft = start(node, rt::StepOp::kAffine);
  SPARSENET_ASSIGN_OR_RETURN(draft.in, value(node.inputs[0]));
  draft.out = new_value(node.outputs[0]);
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

Status Lowering::lower_quantize(const Node& node, rt::StepOp op) {
  SPARSENET_ASSIGN_OR_RETURN(Lowered in, dense(node.inputs[0], node));
  Draft draft = start(node, op);
  draft.in = std::move(in);
  draft.out = new_value(node.outputs[0]);
  values_[static_cast<size_t>(node.outputs[0])] = draft.out;
  finish(std::move(draft));
  return {};
}

// Bounds that every integer is within cost nothing.
Status Lowering::lower_integer_clamp(const Node& node) {
  const bool all = quant_->low == -128 && quant_->high == 127;
  if (!all || !same_quantization(graph_.value(node.inputs[0]), graph_.value(node.outputs[0]))) {
    return lower_quantize(node, rt::StepOp::kQuantize);
  }
  SPARSENET_ASSIGN_OR_RETURN(values_[static_cast<size_t>(node.outputs[0])], value(node.inputs[0]));
  return {};
}

// Lets the convolution that makes an operand of a sum, for nothing else, add the other operand to each of its results.
// That saves a step that reads and writes everything once more. The other operand must exist by then.
bool Lowering::add_in_convolution(const Node& node) {
  const auto out = static_cast<size_t>(node.outputs[0]);
  for (size_t side = 0; side < 2; ++side) {
    const auto made = static_cast<size_t>(node.inputs[side]), other = static_cast<size_t>(node.inputs[1 - side]);
    const Node* maker = producer_[made];
    if (!maker || maker->op != Op::kConv || uses_[made] != 1 || std::get<ConvAttrs>(maker->attrs).groups != 1) continue;
    const Lowered residual = values_[other];
    if (shape(node.inputs[1 - side]) != shape(node.outputs[0]) || shape(node.inputs[side]) != shape(node.outputs[0]) ||
        rows_[other] || rows_[out] || residual.pieces.size() != 1 || residual.pieces[0].buffer < 0) {
      continue;
    }
    const auto writes = [](const Draft& d, const Lowered& v) {
      return d.out.pieces.size() == 1 && d.out.pieces[0].buffer == v.pieces[0].buffer;
    };
    size_t at = drafts_.size();
    while (at > 0 && !writes(drafts_[at - 1], values_[made])) --at;
    if (at == 0) continue;
    Draft& conv = drafts_[at - 1];
    bool exists = conv.step.op == rt::StepOp::kConv && conv.step.quant && !conv.in2.known();
    for (size_t i = at - 1; i < drafts_.size(); ++i) exists = exists && !writes(drafts_[i], residual);
    if (!exists) continue;
    rt::QuantParams& sum = *quant_;
    if (side == 1) {
      std::swap(sum.in_zero, sum.in2_zero);
      std::vector<rt::Multiplier>& multipliers = plan_.multipliers.back();
      std::swap(multipliers[0], multipliers[1]);
    }
    plan_.quant.push_back(*conv.step.quant);
    plan_.quant.back().residual = &sum;
    conv.step.quant = &plan_.quant.back();
    conv.in2 = residual;
    conv.share_in2 = true;
    VirtualBuffer& buffer = buffers_[static_cast<size_t>(residual.pieces[0].buffer)];
    buffer.last = std::max(buffer.last, static_cast<int>(at) - 1);
    buffers_[static_cast<size_t>(conv.out.pieces[0].buffer)].name = graph_.value(node.outputs[0]).name;
    values_[out] = values_[made];
    return true;
  }
  return false;
}

Status Lowering::lower_integer_node(const Node& node) {
  plan_.quant.emplace_back();
  SPARSENET_RETURN_IF_ERROR(quant_of(node, &plan_.quant.back()));
  quant_ = &plan_.quant.back();
  Status status;
  if (constant_number(node) >= 0) {
    status = lower_table(node);
    quant_ = nullptr;
    return status;
  }
  switch (node.op) {
    case Op::kQuantize:
      status = lower_quantize(node, rt::StepOp::kQuantize);
      break;
    case Op::kDequantize:
      status = lower_quantize(node, rt::StepOp::kDequantize);
      break;
    case Op::kRelu:
    case Op::kClip:
      status = lower_integer_clamp(node);
      break;
    case Op::kScale:
      status = lower_scale(node);
      break;
    case Op::kSigmoid:
    case Op::kHardSigmoid:
    case Op::kHardSwish:
    case Op::kTanh:
    case Op::kSilu:
    case Op::kLeakyRelu:
    case Op::kElu:
      status = lower_table(node);
      break;
    case Op::kAdd:
      if (!add_in_convolution(node)) status = lower_node(node);
      break;
    default:
      status = lower_node(node);
  }
  quant_ = nullptr;
  return status;
}

}  // namespace sparsenet

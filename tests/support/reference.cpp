#include "support/reference.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "graph/activations.h"

namespace sparsenet::test {

Status evaluate_node(const Node& node, const Operands& in, Arrays& out) {
  switch (node.op) {
    case Op::kConv:
      reference::conv(std::get<ConvAttrs>(node.attrs), in, out[0]);
      return {};
    case Op::kFullyConnected:
      reference::fully_connected(std::get<FullyConnectedAttrs>(node.attrs), in, out[0]);
      return {};
    case Op::kBatchNorm:
      reference::batch_norm(std::get<BatchNormAttrs>(node.attrs), in, out[0]);
      return {};
    case Op::kAffine:
      reference::affine(std::get<AffineAttrs>(node.attrs), in, out[0]);
      return {};
    case Op::kAttention:
      reference::attention(std::get<AttentionAttrs>(node.attrs), in, out[0]);
      return {};
    case Op::kMaxPool:
    case Op::kAveragePool:
      reference::pool(node.op == Op::kMaxPool, std::get<PoolAttrs>(node.attrs), in, out[0]);
      return {};
    case Op::kGlobalAveragePool:
      reference::reduce_mean({2, 3}, in, out[0]);
      return {};
    case Op::kReduceMean:
      reference::reduce_mean(std::get<ReduceAttrs>(node.attrs).axes, in, out[0]);
      return {};
    case Op::kSoftmax:
      reference::softmax(std::get<AxisAttrs>(node.attrs), in, out[0]);
      return {};
    case Op::kAdd:
    case Op::kSub:
    case Op::kMul:
    case Op::kDiv:
    case Op::kMax:
    case Op::kMin:
    case Op::kPrelu:
      reference::binary(node.op, in, out[0]);
      return {};
    case Op::kExp:
    case Op::kLog:
    case Op::kPow:
      reference::function(node, in, out[0]);
      return {};
    case Op::kMatMul:
      reference::mat_mul(in, out[0]);
      return {};
    case Op::kLayerNorm:
      reference::layer_norm(std::get<BatchNormAttrs>(node.attrs), in, out[0]);
      return {};
    case Op::kConcat:
      reference::concat(std::get<AxisAttrs>(node.attrs), in, out[0]);
      return {};
    case Op::kSplit:
      reference::split(std::get<SplitAttrs>(node.attrs), in, out);
      return {};
    case Op::kSlice:
      reference::slice(std::get<SliceAttrs>(node.attrs), in, out[0]);
      return {};
    case Op::kPad:
      reference::pad(std::get<PadAttrs>(node.attrs), in, out[0]);
      return {};
    case Op::kTranspose:
      reference::transpose(std::get<TransposeAttrs>(node.attrs), in, out[0]);
      return {};
    case Op::kReshape:
    case Op::kIdentity:
      out[0].data = in[0]->data;
      return {};
    default:  // an activation, or one of the ops that only training's passes create
      if (!find_activation(node.op)) break;
      reference::unary(node, in, out[0]);
      return {};
  }
  return unsupported("node '" + node.name + "': the test reference does not know op " +
                     std::to_string(static_cast<int>(node.op)));
}

double activate(const Activation& activation, double x) {
  const double a = activation.a, b = activation.b;
  switch (activation.kind) {
    case Activation::Kind::kNone:
      return x;
    case Activation::Kind::kRelu:
      return std::max(x, 0.0);
    case Activation::Kind::kClip:
      return std::min(std::max(x, a), b);
    case Activation::Kind::kLeakyRelu:
      return x < 0 ? a * x : x;
    case Activation::Kind::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::Kind::kHardSigmoid:
      return std::min(std::max(a * x + b, 0.0), 1.0);
    case Activation::Kind::kHardSwish:
      return x * std::min(std::max(x / 6 + 0.5, 0.0), 1.0);
    case Activation::Kind::kTanh:
      return std::tanh(x);
    case Activation::Kind::kElu:
      return x < 0 ? a * std::expm1(x) : x;
    case Activation::Kind::kSoftplus:
      return std::log1p(std::exp(-std::abs(x))) + std::max(x, 0.0);
    case Activation::Kind::kSilu:
      return x / (1 + std::exp(-a * x));
    case Activation::Kind::kMish:
      return x * std::tanh(std::log1p(std::exp(-std::abs(x))) + std::max(x, 0.0));
    case Activation::Kind::kGelu:
      return x / 2 * std::erfc(-x / std::sqrt(2.0));
    case Activation::Kind::kGeluTanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case Activation::Kind::kErf:
      return std::erf(x);
  }
  return std::nan("");
}

Result<std::vector<Array>> evaluate(const Graph& original, const std::vector<Array>& inputs) {
  Graph graph = original;
  SPARSENET_RETURN_IF_ERROR(graph.infer_shapes());
  if (inputs.size() != graph.inputs.size()) return invalid_argument("evaluate: expected one array per graph input");

  const size_t count = graph.values.size();
  std::vector<Array> live(count);
  std::vector<size_t> last_use(count, 0);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ValueId id = graph.inputs[i];
    if (inputs[i].shape != graph.shape(id)) {
      return invalid_argument("evaluate: input " + std::to_string(i) + " has shape " + to_string(inputs[i].shape) +
                              ", the graph wants " + to_string(graph.shape(id)));
    }
    live[static_cast<size_t>(id)] = inputs[i];
  }
  for (size_t i = 0; i < count; ++i) {
    const Value& value = graph.values[i];
    if (!value.is_constant) continue;
    if (value.type != DataType::kFloat32) continue;  // no op reads another type
    live[i].shape = value.shape;
    live[i].data.assign(value.constant.f32(), value.constant.f32() + value.constant.elements());
  }
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    for (ValueId id : graph.nodes[n].inputs) {
      if (id != kNoValue) last_use[static_cast<size_t>(id)] = n;
    }
  }
  for (ValueId id : graph.outputs) last_use[static_cast<size_t>(id)] = graph.nodes.size();

  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    Operands in;
    for (ValueId id : node.inputs) in.push_back(id == kNoValue ? nullptr : &live[static_cast<size_t>(id)]);
    Arrays out;
    for (ValueId id : node.outputs) out.emplace_back(graph.shape(id));
    SPARSENET_RETURN_IF_ERROR(evaluate_node(node, in, out));
    for (size_t i = 0; i < out.size(); ++i) live[static_cast<size_t>(node.outputs[i])] = std::move(out[i]);
    for (ValueId id : node.inputs) {  // otherwise whole networks in double precision would not fit in memory
      if (id != kNoValue && last_use[static_cast<size_t>(id)] == n) live[static_cast<size_t>(id)].data = {};
    }
  }
  std::vector<Array> results;
  for (ValueId id : graph.outputs) results.push_back(live[static_cast<size_t>(id)]);
  return results;
}

}  // namespace sparsenet::test

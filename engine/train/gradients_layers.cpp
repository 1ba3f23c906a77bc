// Gradients of layers with parameters: convolutions, fully connected layers, batch normalisation.
#include <utility>

#include "train/gradients.h"

namespace sparsenet {

// dw[o][i][t] = sum of dy[p][o] x[p + t][i]; db[o] = sum of dy[p][o]; dx = dy convolved with the transposed weight.
Status conv_gradient(Gradients& g, const Node& node) {
  TrainAttrs a;
  if (node.op == Op::kConv) a.conv = std::get<ConvAttrs>(node.attrs);
  const ValueId x = node.inputs[0], weight = node.inputs[1];
  const ValueId bias = node.inputs.size() > 2 ? node.inputs[2] : kNoValue;
  const ValueId dy = g.of(node.outputs[0]);
  const bool has_bias = bias != kNoValue && g.trained(bias);
  if (g.trained(weight) || has_bias) {
    a.shape = g.shape(weight);
    std::vector<ValueId> outputs{g.trained(weight) ? g.parameter_gradient(weight)
                                                   : g.temporary(node.name + ".weight.grad", g.shape(weight))};
    if (has_bias) outputs.push_back(g.parameter_gradient(bias));
    g.add_into(TrainOp::kConvGradWeight, node.name + ".weight.grad", {x, dy}, a, std::move(outputs));
  }
  if (g.active(x)) {
    a.shape = g.shape(x);
    g.contribute(x, g.add(TrainOp::kConvGradInput, node.name + ".grad", {dy, weight}, a), true);
  }
  return {};
}

// All layers that read the rounded weight stand behind this node, so that nothing more is added to its gradient.
Status round_weight_gradient(Gradients& g, const Node& node) {
  const ValueId weight = node.inputs[0];
  g.finish_parameters();
  TrainAttrs a;
  a.shape = g.shape(weight);
  a.alpha = train_attrs(node).alpha;
  g.add_into(TrainOp::kExpand, node.name + ".weight.grad", {g.written(node.outputs[0])}, std::move(a),
             {g.parameter_gradient(weight)});
  return {};
}

// y = act(x scale + shift), with scale = gamma s and shift = beta - mean gamma s of the batch, or constants. With dy'
// the gradient in front of the activation: dx = scale dy' (what reaches x directly); the sums of dy' and dy' (x - mean)
// give the gradients of gamma, beta, mean and s. What reaches x through mean and s is added once for all readers of
// x, by BatchStatsGrad.
Status normalize_gradient(Gradients& g, const Node& node) {
  const ValueId x = node.inputs[0], fold = node.inputs[1];
  TrainAttrs a = train_attrs(node);
  const auto known = g.folds.find(fold);
  const bool batch = known != g.folds.end();
  std::vector<ValueId> inputs{g.of(node.outputs[0]), x, fold, batch ? known->second.stats : kNoValue};
  const bool fresh = g.is_single_root(x) && !g.has(x);
  if (!fresh) inputs.push_back(g.accumulator(x));
  const std::vector<ValueId> outputs =
      g.add_node(TrainOp::kNormalizeGrad, node.name + ".grad", std::move(inputs), a, fresh ? 2 : 1).outputs;
  if (fresh) g.contribute(x, outputs[1], true);
  if (!batch) return {};
  const Gradients::Fold f = known->second;
  const std::string of_stats = node.name + ".stats.grad";
  auto dstats_of = [&](ValueId root) {
    const auto found = g.dstats.find(root);
    if (found != g.dstats.end()) return found->second;
    const Shape& s = g.shape(root);
    const ValueId zeros = g.zeros(of_stats, {2, s.size() < 2 ? element_count(s) : s[1]});
    if (g.active(root)) g.dstats[root] = zeros;
    return zeros;
  };
  const ValueId dstats = f.fixed ? g.zeros(of_stats, {2, g.shape(x)[1]})  // nothing reads them
                                 : g.gather(of_stats, std::vector<RootRange>(g.ranges(x)), dstats_of);
  auto gradient = [&](ValueId parameter) {
    return g.trained(parameter) ? g.parameter_gradient(parameter)
                                : g.temporary(node.name + ".unused", g.shape(parameter));
  };
  const ValueId dgamma = gradient(f.gamma), dbeta = gradient(f.beta);
  g.add_into(TrainOp::kFoldStatsGrad, node.name + ".grad", {outputs[0], f.stats, f.gamma, dstats}, a, {dgamma, dbeta});
  return {};
}

}  // namespace sparsenet

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <utility>

#include "graph/activations.h"
#include "passes/rewrite.h"
#include "train/gradients.h"
#include "train/training_form.h"
#include "train/training_graph.h"

namespace sparsenet {
namespace {

constexpr float kRunningMomentum = 0.1f;  // PyTorch's default; the paper's decay of 0.9

class Builder {
 public:
  Builder(const Graph& source, const BackwardOptions& options) : options_(options) { out_.graph = source; }

  Result<TrainingGraph> build();

 private:
  struct Running {
    std::string name;
    ValueId stats, mean, variance;
    int64_t count;  // values per channel
  };

  void place_parameters();
  ValueId place(const std::string& name, Shape shape, int region, size_t offset);
  size_t reserve(int region, int64_t floats);
  Status forward();
  Status normalize(const Node& node, const Node* activation);
  Status check_statistics(const Node& node) const;
  ValueId stats_of(ValueId x, float epsilon, const std::string& name);
  Result<ValueId> fixed_fold(const Node& node);
  void place_gradients();
  Status loss();
  Status backward();
  void updates();

  const BackwardOptions& options_;
  TrainingGraph out_;
  std::unique_ptr<Gradients> g_;
  std::vector<Node> source_nodes_;
  std::vector<size_t> forward_nodes_;  // indices into out_.graph.nodes, for the backward pass
  std::vector<Running> running_;
  std::map<ValueId, float> epsilon_;
};

size_t Builder::reserve(int region, int64_t floats) {
  size_t& size = out_.persistence.region_bytes[static_cast<size_t>(region)];
  const size_t at = size;
  size += static_cast<size_t>((floats + 15) / 16 * 16) * sizeof(float);
  return at;
}

ValueId Builder::place(const std::string& name, Shape shape, int region, size_t offset) {
  const ValueId id = add_pass_value(&out_.graph, name, std::move(shape));
  out_.persistence.placements.push_back({id, region, offset});
  return id;
}

// Places the decayed parameters first, so that one range of floats is decayed and the rest is not.
void Builder::place_parameters() {
  out_.persistence.region_bytes.assign(kRegionCount, 0);
  std::vector<ValueId> order;
  for (int pass = 0; pass < 2; ++pass) {
    for (size_t i = 0; i < options_.trained.size(); ++i) {
      if (options_.trained[i] && options_.decayed[i] == (pass == 0)) order.push_back(static_cast<ValueId>(i));
    }
    if (pass == 0) {
      int64_t floats = 0;
      for (ValueId id : order) floats += (element_count(out_.graph.shape(id)) + 15) / 16 * 16;
      out_.decayed_floats = floats;
    }
  }
  for (ValueId id : order) {
    const size_t at = reserve(kParameterRegion, element_count(out_.graph.shape(id)));
    out_.persistence.placements.push_back({id, kParameterRegion, at});
    out_.trained.push_back(id);
  }
  auto& bytes = out_.persistence.region_bytes;
  bytes[kGradientRegion] = bytes[kMoment1Region] = bytes[kParameterRegion];
  if (options_.optimizer != Optimizer::kSgd) bytes[kMoment2Region] = bytes[kParameterRegion];
  if (options_.accumulate) bytes[kAccumulatedRegion] = bytes[kParameterRegion];
  bytes[kControlRegion] = rt::kControlFloats * sizeof(float);
}

// Places the gradients of parameters, and weights that are rounded before layers read them.
void Builder::place_gradients() {
  for (size_t i = 0; i < out_.trained.size(); ++i) {
    const ValueId id = out_.trained[i];
    const size_t offset = out_.persistence.placements[i].offset;
    const Value& parameter = out_.graph.value(id);
    const ValueId gradient = place(parameter.name + ".grad", Shape(parameter.shape), kGradientRegion, offset);
    g_->set_parameter_gradient(id, gradient);
  }
  for (const Node& node : out_.graph.nodes) {
    if (node.op != TrainOp::kRoundWeight) continue;
    const ValueId rounded = node.outputs[0];
    const Shape shape = out_.graph.shape(rounded);
    out_.persistence.placements.push_back({rounded, kRoundedRegion, reserve(kRoundedRegion, element_count(shape))});
    g_->set_parameter_gradient(rounded, g_->temporary(node.name + ".rounded.grad", shape));
  }
}

ValueId Builder::stats_of(ValueId x, float epsilon, const std::string& name) {
  const std::vector<RootRange> ranges = g_->ranges(x);
  return g_->gather(name + ".stats", ranges, [&](ValueId root) {
    const auto known = g_->stats.find(root);
    if (known != g_->stats.end() && epsilon_[root] == epsilon) return known->second;
    TrainAttrs a;
    a.epsilon = epsilon;
    const ValueId stats = g_->add(TrainOp::kBatchStats, out_.graph.value(root).name + ".stats", {root}, std::move(a));
    g_->stats[root] = stats;
    epsilon_[root] = epsilon;
    return stats;
  });
}

// The scale and shift of a BatchNorm whose running statistics are constants, while its scale and shift may be trained.
Result<ValueId> Builder::fixed_fold(const Node& node) {
  Graph& graph = out_.graph;
  const ValueId gamma = node.inputs[1], beta = node.inputs[2];
  const float *m = constant_f32(graph, node.inputs[3]), *v = constant_f32(graph, node.inputs[4]);
  if (!m || !v) return unsupported(describe(node) + ": expected float32 constants as running statistics");
  const auto channels = static_cast<size_t>(element_count(graph.shape(gamma)));
  const double epsilon = static_cast<double>(std::get<BatchNormAttrs>(node.attrs).epsilon);
  std::vector<float> values(3 * channels);
  for (size_t c = 0; c < channels; ++c) {
    values[c] = m[c];
    values[channels + c] = static_cast<float>(1 / std::sqrt(static_cast<double>(v[c]) + epsilon));
    values[2 * channels + c] = v[c];
  }
  const ValueId stats =
      add_pass_constant(&graph, node.name + ".stats", {3, static_cast<int64_t>(channels)}, std::move(values));
  const ValueId fold = g_->add(TrainOp::kFoldStats, node.name + ".fold", {stats, gamma, beta});
  g_->folds[fold] = {stats, gamma, beta, true};
  return fold;
}

// Training updates running statistics with the values of one tensor, so nothing may read them but BatchNorms of that
// tensor.
Status Builder::check_statistics(const Node& node) const {
  for (const Node& other : source_nodes_) {
    for (size_t i = 0; i < other.inputs.size(); ++i) {
      const bool same_role = other.op == Op::kBatchNorm && other.inputs[0] == node.inputs[0] && i >= 3 &&
                             other.inputs[3] == node.inputs[3] && other.inputs[4] == node.inputs[4];
      for (const size_t statistic : {size_t{3}, size_t{4}}) {
        if (other.inputs[i] != node.inputs[statistic] || (same_role && i == statistic)) continue;
        return unsupported(describe(node) + ": training expects running statistics of its own, found '" +
                           out_.graph.value(other.inputs[i]).name + "' read as input " + std::to_string(i) + " of " +
                           describe(other) + " too");
      }
    }
  }
  return {};
}

// Adds a BatchNorm, together with the activation behind it (null: none), which has bounds and is its only reader.
Status Builder::normalize(const Node& node, const Node* activation) {
  Graph& graph = out_.graph;
  const ValueId x = node.inputs[0], gamma = node.inputs[1], beta = node.inputs[2];
  const float epsilon = std::get<BatchNormAttrs>(node.attrs).epsilon;
  const int64_t channels = element_count(graph.shape(gamma));
  ValueId fold = kNoValue;
  const bool moves = g_->trained(gamma) || g_->trained(beta);
  if (moves && options_.fixed_statistics) {
    SPARSENET_ASSIGN_OR_RETURN(fold, fixed_fold(node));
  } else if (moves) {
    for (const RootRange& r : g_->ranges(x)) {
      if (epsilon_.count(r.root) > 0 && epsilon_[r.root] != epsilon) {
        return unsupported(describe(node) + ": training expects one epsilon for all BatchNorms of a tensor, found " +
                           std::to_string(epsilon_[r.root]) + " and " + std::to_string(epsilon));
      }
    }
    const int64_t count = element_count(graph.shape(x)) / channels;
    if (count < 2) {
      return invalid_argument(describe(node) + ": batch statistics need at least two values per channel, found " +
                              std::to_string(count) + ": use a larger batch");
    }
    SPARSENET_RETURN_IF_ERROR(check_statistics(node));
    const ValueId stats = stats_of(x, epsilon, node.name);
    fold = g_->add(TrainOp::kFoldStats, node.name + ".fold", {stats, gamma, beta});
    g_->folds[fold] = {stats, gamma, beta, false};
    running_.push_back({node.name, stats, node.inputs[3], node.inputs[4], count});
  } else {
    std::vector<float> values(static_cast<size_t>(2 * channels));
    const float *s = constant_f32(graph, gamma), *b = constant_f32(graph, beta);
    const float *m = constant_f32(graph, node.inputs[3]), *v = constant_f32(graph, node.inputs[4]);
    if (!s || !b || !m || !v) return unsupported(describe(node) + ": expected float32 constants as parameters");
    for (int64_t c = 0; c < channels; ++c) {
      const double scale = s[c] / std::sqrt(static_cast<double>(v[c]) + epsilon);
      values[static_cast<size_t>(c)] = static_cast<float>(scale);
      values[static_cast<size_t>(channels + c)] = static_cast<float>(b[c] - m[c] * scale);
    }
    fold = add_pass_constant(&graph, node.name + ".fold", {2, channels}, std::move(values));
  }
  TrainAttrs a;
  ValueId result = node.outputs[0];
  if (activation) {
    is_activation(*activation, &a.activation);
    result = activation->outputs[0];
  }
  g_->add_into(TrainOp::kNormalize, node.name, {x, fold}, std::move(a), {result});
  return {};
}

Status Builder::forward() {
  Graph& graph = out_.graph;
  const Uses uses(graph);
  source_nodes_ = std::move(graph.nodes);
  graph.nodes.clear();
  std::vector<bool> merged(source_nodes_.size(), false);
  for (size_t i = 0; i < source_nodes_.size(); ++i) {
    if (merged[i]) continue;
    const Node node = source_nodes_[i];
    const bool active = g_->active(node.outputs[0]);
    if (active && g_->is_view(node)) g_->note_view(node);
    if (node.op == Op::kBatchNorm) {
      const int user = uses.only_user(node.outputs[0]);
      const Node* activation = nullptr;
      if (user >= 0) {
        const Node& next = source_nodes_[static_cast<size_t>(user)];
        if (next.op == Op::kRelu || next.op == Op::kClip) {
          activation = &next;
          merged[static_cast<size_t>(user)] = true;
        }
      }
      SPARSENET_RETURN_IF_ERROR(normalize(node, activation));
    } else {
      graph.nodes.push_back(node);
    }
    if (active && !g_->is_view(graph.nodes.back())) forward_nodes_.push_back(graph.nodes.size() - 1);
  }
  return {};
}

Status Builder::loss() {
  Graph& graph = out_.graph;
  const ValueId logits = graph.outputs[0];
  const Shape s = graph.shape(logits);
  if (s.size() != 2 || s[1] < 2) {
    return unsupported("output '" + graph.value(logits).name +
                       "': training expects logits [N, classes] of two classes or more, found " + to_string(s));
  }
  if (!g_->active(logits)) return invalid_argument("the output depends on no trained parameter");
  const ValueId labels = graph.add_input("train.labels", {s[0], 1});
  TrainAttrs a;
  a.alpha = options_.label_smoothing;
  a.beta = static_cast<float>(1.0 / static_cast<double>(s[0]));
  const std::vector<ValueId> made = g_->add_node(TrainOp::kCrossEntropy, "train.loss", {logits, labels}, a, 2).outputs;
  graph.outputs = {made[0]};
  out_.logits = logits;
  out_.backward_begin = graph.nodes.size();
  g_->contribute(logits, made[1], true);
  return {};
}

Status Builder::backward() {
  for (size_t i = forward_nodes_.size(); i-- > 0;) {
    const Node node = out_.graph.nodes[forward_nodes_[i]];
    bool any = false;
    for (ValueId y : node.outputs) any = any || g_->has(y);
    if (!any) continue;
    for (ValueId y : node.outputs) {
      const auto found = g_->dstats.find(y);
      if (found == g_->dstats.end()) continue;
      g_->add_node(TrainOp::kBatchStatsGrad, node.name + ".stats.grad",
                   {y, g_->stats[y], found->second, g_->accumulator(y)}, {}, 0);
    }
    const GradientRule rule = find_gradient_rule(node.op);
    if (!rule) return unsupported(describe(node) + ": has no gradient; freeze everything in front of it");
    SPARSENET_RETURN_IF_ERROR(rule(*g_, node));
  }
  g_->finish_parameters();
  return {};
}

void Builder::updates() {
  Graph& graph = out_.graph;
  auto begin_phase = [&]() { out_.phase_begins.push_back(graph.nodes.size()); };
  const auto floats = static_cast<int64_t>(out_.persistence.region_bytes[kParameterRegion] / sizeof(float));
  auto region = [&](const std::string& name, int id) { return place(name, {floats}, id, 0); };

  begin_phase();
  std::vector<bool> moved(graph.values.size(), false);
  for (const Running& r : running_) {
    if (moved[static_cast<size_t>(r.mean)]) continue;
    moved[static_cast<size_t>(r.mean)] = true;
    for (ValueId id : {r.mean, r.variance}) {
      out_.persistence.placements.push_back(
          {id, kRunningRegion, reserve(kRunningRegion, element_count(graph.shape(id)))});
      out_.moving.push_back(id);
    }
    TrainAttrs a;
    a.alpha = kRunningMomentum;
    a.beta = static_cast<float>(static_cast<double>(r.count) / static_cast<double>(r.count - 1));
    g_->add_node(TrainOp::kUpdateRunning, r.name + ".running", {r.stats, r.mean, r.variance}, std::move(a), 0);
  }
  const ValueId parameters = region("train.parameters", kParameterRegion);
  ValueId gradients = region("train.gradients", kGradientRegion);
  const ValueId control = place("train.control", {rt::kControlFloats}, kControlRegion, 0);
  begin_phase();
  if (options_.accumulate) {
    const ValueId sum = region("train.accumulated", kAccumulatedRegion);
    g_->add_node(TrainOp::kAccumulate, "train.accumulate", {gradients, sum}, {}, 0);
    gradients = sum;
  }
  begin_phase();
  g_->add_node(TrainOp::kSquareSum, "train.norm", {gradients, control}, {}, 0);
  begin_phase();
  TrainAttrs a;
  a.alpha = static_cast<float>(out_.decayed_floats);
  const ValueId moment1 = region("train.moment1", kMoment1Region);
  if (options_.optimizer == Optimizer::kSgd) {
    g_->add_node(TrainOp::kUpdateSgd, "train.update", {parameters, gradients, moment1, control}, a, 0);
  } else {
    const ValueId moment2 = region("train.moment2", kMoment2Region);
    g_->add_node(TrainOp::kUpdateAdam, "train.update", {parameters, gradients, moment1, moment2, control}, a, 0);
  }
}

Result<TrainingGraph> Builder::build() {
  Graph& graph = out_.graph;
  if (graph.inputs.size() != 1 || graph.outputs.size() != 1) {
    return unsupported("training expects one input and one output, found " + std::to_string(graph.inputs.size()) +
                       " and " + std::to_string(graph.outputs.size()));
  }
  place_parameters();
  if (out_.trained.empty()) return invalid_argument("nothing to train: every parameter is frozen");
  SPARSENET_RETURN_IF_ERROR(to_training_form(&graph, options_.trained));
  std::vector<bool> active = active_values(graph, options_.trained);
  g_ = std::make_unique<Gradients>(&graph, std::move(active));
  place_gradients();
  SPARSENET_RETURN_IF_ERROR(forward());
  SPARSENET_RETURN_IF_ERROR(loss());
  SPARSENET_RETURN_IF_ERROR(backward());
  updates();
  return std::move(out_);
}

}  // namespace

Result<TrainingGraph> build_backward(const Graph& source, const BackwardOptions& options) {
  return Builder(source, options).build();
}

}  // namespace sparsenet

#include "train/recompute.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

#include "graph/activations.h"
#include "graph/training_ops.h"
#include "passes/rewrite.h"

namespace sparsenet {
namespace {

constexpr int64_t kWorthwhileBytes = 16 << 10;

// The most nodes of the backward pass between the first and the last that read a value: a value that is read over a
// longer stretch (a group that many layers read) would be back in memory for most of the backward pass.
constexpr size_t kLongestNeed = 32;

// Whether a node's results are made of its inputs at no cost, or by the nodes that read them: if its inputs are
// recomputed, such a node is too.
bool follows(Op op) {
  return op == Op::kConcat || op == Op::kSplit || op == Op::kSlice || op == Op::kReshape || op == Op::kIdentity ||
         op == TrainOp::kNormalize;
}

bool can_be_recomputed(Op op) {
  switch (op) {
    case Op::kConv:
    case Op::kFullyConnected:
    case Op::kAdd:
    case Op::kSub:
    case Op::kMul:
    case Op::kDiv:
    case Op::kMax:
    case Op::kMin:
    case Op::kPrelu:
    case Op::kExp:
    case Op::kLog:
    case Op::kPow:
    case Op::kMatMul:
    case Op::kAveragePool:
    case Op::kMaxPool:
      return true;
    default:
      return op == TrainOp::kScalePixels || op == TrainOp::kFakeQuantize || find_activation(op);
  }
}

class Recompute {
 public:
  Recompute(TrainingGraph* training, const std::vector<RecomputeChoice>& choices, size_t count)
      : graph_(training->graph), training_(training), chosen_(training->backward_begin, false) {
    for (size_t i = 0; i < count; ++i) chosen_[choices[i].node] = true;
  }

  void run() {
    std::vector<Node> source = std::move(graph_.nodes);
    graph_.nodes.clear();
    producer_.assign(graph_.values.size(), -1);
    for (size_t i = 0; i < training_->backward_begin; ++i) {
      for (ValueId id : source[i].outputs) producer_[static_cast<size_t>(id)] = static_cast<int>(i);
    }
    source_ = &source;
    std::vector<size_t> phases;
    for (size_t i = 0; i < source.size(); ++i) {
      for (size_t begin : training_->phase_begins) {
        if (begin == i) phases.push_back(graph_.nodes.size());
      }
      Node node = source[i];
      if (i >= training_->backward_begin) {
        for (ValueId& id : node.inputs) {
          if (id != kNoValue) id = again(id);
        }
      }
      graph_.nodes.push_back(std::move(node));
    }
    while (phases.size() < training_->phase_begins.size()) phases.push_back(graph_.nodes.size());
    training_->phase_begins = std::move(phases);
  }

 private:
  // The value that takes the place of `id` in the backward pass.
  ValueId again(ValueId id) {
    const auto known = again_.find(id);
    if (known != again_.end()) return known->second;
    const int maker = static_cast<size_t>(id) < producer_.size() ? producer_[static_cast<size_t>(id)] : -1;
    if (maker < 0) return id;
    const Node& source = (*source_)[static_cast<size_t>(maker)];
    const bool chosen = chosen_[static_cast<size_t>(maker)];
    if (!chosen && !follows(source.op)) return id;
    Node copy = source;
    bool changed = chosen;
    for (ValueId& input : copy.inputs) {
      if (input == kNoValue) continue;
      const ValueId other = again(input);
      changed = changed || other != input;
      input = other;
    }
    if (!changed) {
      for (ValueId output : source.outputs) again_[output] = output;
      return id;
    }
    for (ValueId& output : copy.outputs) {
      const ValueId fresh = add_pass_value(&graph_, graph_.value(output).name + ".again", Shape(graph_.shape(output)));
      again_[output] = fresh;
      output = fresh;
    }
    graph_.nodes.push_back(std::move(copy));
    return again_[id];
  }

  Graph& graph_;
  TrainingGraph* training_;
  std::vector<bool> chosen_;  // by node of the forward part
  std::vector<int> producer_;
  const std::vector<Node>* source_ = nullptr;
  std::map<ValueId, ValueId> again_;
};

}  // namespace

std::vector<RecomputeChoice> recompute_choices(const TrainingGraph& training) {
  const Graph& graph = training.graph;
  // The first and last node of the backward pass that reads a value, directly or through nodes that follow it.
  struct Reads {
    size_t first = SIZE_MAX, last = 0;
  };
  std::vector<Reads> reads(graph.values.size());
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    const Node& node = graph.nodes[i];
    Reads mine;
    if (i >= training.backward_begin) {
      mine = {i, i};
    } else if (follows(node.op)) {
      for (ValueId id : node.outputs) {
        mine.first = std::min(mine.first, reads[static_cast<size_t>(id)].first);
        mine.last = std::max(mine.last, reads[static_cast<size_t>(id)].last);
      }
    }
    if (mine.first == SIZE_MAX) continue;
    for (ValueId id : node.inputs) {
      if (id == kNoValue) continue;
      Reads& r = reads[static_cast<size_t>(id)];
      r.first = std::min(r.first, mine.first);
      r.last = std::max(r.last, mine.last);
    }
  }
  std::vector<RecomputeChoice> choices;
  for (size_t i = 0; i < training.backward_begin; ++i) {
    const Node& node = graph.nodes[i];
    const Reads& r = reads[static_cast<size_t>(node.outputs[0])];
    if (!can_be_recomputed(node.op) || r.first == SIZE_MAX || node.outputs[0] == training.logits) continue;
    if (r.last - r.first > kLongestNeed) continue;
    const int64_t elements = element_count(graph.shape(node.outputs[0]));
    const int64_t bytes = elements * static_cast<int64_t>(sizeof(float));
    if (bytes < kWorthwhileBytes) continue;
    choices.push_back({i, std::max(node_macs(graph, node), elements), bytes});
  }
  std::stable_sort(choices.begin(), choices.end(), [](const RecomputeChoice& a, const RecomputeChoice& b) {
    return static_cast<double>(a.bytes) * static_cast<double>(b.cost) >
           static_cast<double>(b.bytes) * static_cast<double>(a.cost);
  });
  return choices;
}

void recompute(TrainingGraph* training, const std::vector<RecomputeChoice>& choices, size_t count) {
  if (count > 0) Recompute(training, choices, count).run();
}

}  // namespace sparsenet

#include "quantize/equalize.h"

#include <algorithm>
#include <utility>

#include "passes/rewrite.h"

namespace sparsenet {
namespace {

// Channels that must have the same factor, as sets. Set 0 has those whose factor is 1.
class Sets {
 public:
  int add() {
    parent_.push_back(static_cast<int>(parent_.size()));
    return parent_.back();
  }
  int find(int i) {
    while (parent_[static_cast<size_t>(i)] != i) {
      i = parent_[static_cast<size_t>(i)] = parent_[static_cast<size_t>(parent_[static_cast<size_t>(i)])];
    }
    return i;
  }
  void join(int a, int b) {
    a = find(a);
    b = find(b);
    parent_[static_cast<size_t>(std::max(a, b))] = std::min(a, b);  // so that 0 stays the root of its set
  }
  size_t size() const { return parent_.size(); }

 private:
  std::vector<int> parent_;
};

class Equalizer {
 public:
  Equalizer(Graph* graph, const std::vector<std::vector<float>>& largest)
      : graph_(*graph), largest_(largest), channels_(graph->values.size()) {
    (void)sets_.add();
  }

  Status run() {
    for (ValueId id : graph_.inputs) channels_[static_cast<size_t>(id)] = fixed(id);
    for (const Node& node : graph_.nodes) visit(node);
    for (ValueId id : graph_.outputs) fix(id);
    choose_factors();
    for (Node& node : graph_.nodes) apply(&node);
    return graph_.infer_shapes();
  }

 private:
  using Channels = std::vector<int>;  // the set of each channel

  size_t count(ValueId id) const {
    const Shape& s = graph_.shape(id);
    return s.size() < 2 ? 1 : static_cast<size_t>(s[1]);
  }
  Channels fixed(ValueId id) const { return Channels(count(id), 0); }
  Channels& of(ValueId id) {
    Channels& known = channels_[static_cast<size_t>(id)];
    if (known.empty()) known = fixed(id);  // constants
    return known;
  }
  void fix(ValueId id) {
    for (int set : of(id)) sets_.join(set, 0);
  }
  bool all_fixed(ValueId id) {
    return std::all_of(of(id).begin(), of(id).end(), [&](int set) { return sets_.find(set) == 0; });
  }

  bool same_channels(ValueId a, ValueId b) const {
    const Shape &s = graph_.shape(a), &t = graph_.shape(b);
    return s.size() >= 2 && t.size() >= 2 && s[0] == t[0] && s[1] == t[1];
  }

  // A layer whose outputs may have any factors.
  bool is_free(const Node& node) const {
    if (node.op != Op::kConv || !graph_.value(node.inputs[1]).is_constant) return false;
    const Activation::Kind kind = std::get<ConvAttrs>(node.attrs).activation.kind;
    const bool biased = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
    if (node.inputs.size() > 3 && node.inputs[3] != kNoValue) return false;  // a residual
    return (kind == Activation::Kind::kNone || kind == Activation::Kind::kRelu) &&
           (!biased || graph_.value(node.inputs[2]).is_constant);
  }

  void visit(const Node& node) {
    Channels out;
    switch (node.op) {
      case Op::kConv:
        fix(node.inputs[0]);
        if (node.inputs.size() > 3 && node.inputs[3] != kNoValue) fix(node.inputs[3]);
        if (is_free(node)) {
          for (size_t c = 0; c < count(node.outputs[0]); ++c) out.push_back(sets_.add());
        }
        break;
      case Op::kAffine:
        if (!graph_.value(node.inputs[1]).is_constant) fix(node.inputs[0]);
        break;
      case Op::kRelu:
      case Op::kMaxPool:
      case Op::kAveragePool:
      case Op::kGlobalAveragePool:
      case Op::kIdentity:
        out = of(node.inputs[0]);
        break;
      case Op::kConcat:
        out = of_concat(node);
        break;
      case Op::kSplit:
        if (split(node)) return;
        break;
      case Op::kAdd:
        out = of_add(node);
        break;
      case Op::kMul:
        out = of_mul(node);
        break;
      default:
        break;
    }
    if (out.empty()) {
      const bool takes = node.op == Op::kAffine || node.op == Op::kConv;
      for (ValueId id : node.inputs) {
        if (!takes && id != kNoValue) fix(id);
      }
    }
    for (ValueId id : node.outputs) channels_[static_cast<size_t>(id)] = out.empty() ? fixed(id) : out;
  }

  Channels of_concat(const Node& node) {
    if (std::get<AxisAttrs>(node.attrs).axis != 1) return {};
    Channels out;
    for (ValueId id : node.inputs) out.insert(out.end(), of(id).begin(), of(id).end());
    return out;
  }

  bool split(const Node& node) {
    if (std::get<SplitAttrs>(node.attrs).axis != 1) return false;
    auto at = of(node.inputs[0]).begin();
    for (ValueId id : node.outputs) {
      const auto end = at + static_cast<ptrdiff_t>(count(id));
      channels_[static_cast<size_t>(id)] = Channels(at, end);
      at = end;
    }
    return true;
  }

  Channels of_add(const Node& node) {
    if (!same_channels(node.inputs[0], node.inputs[1])) return {};
    const Channels &a = of(node.inputs[0]), &b = of(node.inputs[1]);
    for (size_t c = 0; c < a.size(); ++c) sets_.join(a[c], b[c]);
    return a;
  }

  // A product with a gate, whose own channels have no factors.
  Channels of_mul(const Node& node) {
    if (!same_channels(node.inputs[0], node.inputs[1])) return {};
    if (all_fixed(node.inputs[1])) return of(node.inputs[0]);
    return all_fixed(node.inputs[0]) ? of(node.inputs[1]) : Channels();
  }

  // So that the largest magnitude in every set becomes 1.
  void choose_factors() {
    std::vector<float> most(sets_.size(), 0.f);
    for (size_t id = 0; id < channels_.size(); ++id) {
      const std::vector<float>& largest = largest_[id];
      for (size_t c = 0; c < channels_[id].size() && c < largest.size(); ++c) {
        float& m = most[static_cast<size_t>(sets_.find(channels_[id][c]))];
        m = std::max(m, largest[c]);
      }
    }
    factors_.assign(sets_.size(), 1.f);
    for (size_t i = 1; i < factors_.size(); ++i) {
      const auto root = static_cast<size_t>(sets_.find(static_cast<int>(i)));
      if (root != 0 && most[root] > 0.f) factors_[i] = std::clamp(1.f / most[root], 1e-6f, 1e6f);
    }
  }

  float factor(ValueId id, size_t channel) { return factors_[static_cast<size_t>(sets_.find(of(id)[channel]))]; }

  // A copy of a constant, changed by `change(values)`.
  template <class Change>
  ValueId changed(ValueId id, Change change) {
    const Value& old = graph_.value(id);
    std::vector<float> values = to_float32(old.constant);
    change(&values);
    return add_pass_constant(&graph_, old.name + ".equalised", Shape(old.shape), std::move(values));
  }

  void apply(Node* node) {
    if (node->op == Op::kAffine && graph_.value(node->inputs[1]).is_constant) {
      const ValueId x = node->inputs[0];
      if (all_fixed(x)) return;
      node->inputs[1] = changed(node->inputs[1], [&](std::vector<float>* scale) {
        for (size_t c = 0; c < scale->size(); ++c) (*scale)[c] /= factor(x, c);
      });
    }
    if (node->op != Op::kConv || !is_free(*node)) return;
    const ValueId y = node->outputs[0];
    if (all_fixed(y)) return;
    const auto scale_rows = [&](std::vector<float>* values) {
      const size_t rows = count(y), length = values->size() / rows;
      for (size_t i = 0; i < values->size(); ++i) (*values)[i] *= factor(y, i / length);
    };
    node->inputs[1] = changed(node->inputs[1], scale_rows);
    if (node->inputs.size() > 2 && node->inputs[2] != kNoValue) node->inputs[2] = changed(node->inputs[2], scale_rows);
  }

  Graph& graph_;
  const std::vector<std::vector<float>>& largest_;
  std::vector<Channels> channels_;  // by value
  Sets sets_;
  std::vector<float> factors_;  // by set
};

}  // namespace

Status equalize_channels(Graph* graph, const std::vector<std::vector<float>>& largest) {
  return Equalizer(graph, largest).run();
}

}  // namespace sparsenet

#include "train/gradients.h"

#include <algorithm>
#include <utility>

#include "graph/activations.h"

namespace sparsenet {
namespace {

struct Row {
  Op op;
  GradientRule rule;
};

const Row kGradientRules[] = {
    {Op::kConv, conv_gradient},
    {Op::kFullyConnected, conv_gradient},
    {TrainOp::kNormalize, normalize_gradient},
    {Op::kSoftmax, softmax_gradient},
    {Op::kAdd, binary_gradient},
    {Op::kSub, binary_gradient},
    {Op::kMul, binary_gradient},
    {Op::kDiv, binary_gradient},
    {Op::kMax, choice_gradient},
    {Op::kMin, choice_gradient},
    {Op::kPrelu, choice_gradient},
    {Op::kExp, function_gradient},
    {Op::kLog, function_gradient},
    {Op::kPow, function_gradient},
    {Op::kMatMul, mat_mul_gradient},
    {TrainOp::kScalePixels, scale_pixels_gradient},
    {Op::kMaxPool, max_pool_gradient},
    {Op::kAveragePool, average_pool_gradient},
    {Op::kGlobalAveragePool, global_pool_gradient},
    {Op::kReduceMean, reduce_mean_gradient},
    {Op::kReshape, reshape_gradient},
    {Op::kTranspose, transpose_gradient},
    {Op::kPad, pad_gradient},
    {Op::kConcat, concat_gradient},
    {Op::kSplit, split_gradient},
    {Op::kSlice, slice_gradient},
    {TrainOp::kFakeQuantize, fake_quantize_gradient},
    {TrainOp::kRoundWeight, round_weight_gradient},
};

bool has_channels(const Shape& s) {
  return s.size() == 4 || s.size() == 2;
}

}  // namespace

GradientRule find_gradient_rule(Op op) {
  for (const Row& row : kGradientRules) {
    if (row.op == op) return row.rule;
  }
  return find_activation(op) ? activation_gradient : nullptr;
}

Gradients::Gradients(Graph* graph, std::vector<bool> active) : graph_(graph), active_(std::move(active)) {}

std::string Gradients::unique(const std::string& base) {
  return base + "#" + std::to_string(graph_->values.size());
}

Node& Gradients::add_node(Op op, const std::string& base, std::vector<ValueId> inputs, TrainAttrs attrs,
                          size_t outputs) {
  std::vector<std::string> names;
  for (size_t i = 0; i < outputs; ++i) names.push_back(unique(base) + "." + std::to_string(i));
  graph_->add_node_multi(op, base, std::move(inputs), to_attrs(std::move(attrs)), std::move(names));
  return graph_->nodes.back();
}

void Gradients::add_into(Op op, const std::string& base, std::vector<ValueId> inputs, TrainAttrs attrs,
                         std::vector<ValueId> outputs) {
  Node node;
  node.op = op;
  node.name = base;
  node.inputs = std::move(inputs);
  node.outputs = std::move(outputs);
  node.attrs = to_attrs(std::move(attrs));
  graph_->nodes.push_back(std::move(node));
}

ValueId Gradients::temporary(const std::string& base, Shape shape) {
  const auto id = static_cast<ValueId>(graph_->values.size());
  Value value;
  value.name = unique(base);
  value.shape = std::move(shape);
  graph_->values.push_back(std::move(value));
  return id;
}

ValueId Gradients::add(Op op, const std::string& base, std::vector<ValueId> inputs, TrainAttrs attrs) {
  return add_node(op, base, std::move(inputs), std::move(attrs), 1).outputs[0];
}

ValueId Gradients::add_view(Op op, const std::string& base, std::vector<ValueId> inputs, Attrs attrs) {
  return graph_->add_node(op, base, std::move(inputs), std::move(attrs), unique(base));
}

ValueId Gradients::zeros(const std::string& base, Shape shape) {
  TrainAttrs a;
  a.shape = std::move(shape);
  a.alpha = 0;
  return add(TrainOp::kFill, base, {}, std::move(a));
}

ValueId Gradients::slice(const std::string& base, ValueId from, int64_t begin, int64_t end) {
  SliceAttrs a;
  a.axes = {1};
  a.starts = {begin};
  a.ends = {end};
  a.steps = {1};
  return add_view(Op::kSlice, base, {from}, std::move(a));
}

bool Gradients::is_view(const Node& node) const {
  switch (node.op) {
    case Op::kConcat:
      return has_channels(shape(node.outputs[0])) && std::get<AxisAttrs>(node.attrs).axis == 1;
    case Op::kSplit:
      return has_channels(shape(node.inputs[0])) && std::get<SplitAttrs>(node.attrs).axis == 1;
    case Op::kSlice: {
      const auto& a = std::get<SliceAttrs>(node.attrs);
      return has_channels(shape(node.inputs[0])) && a.axes.size() == 1 && a.axes[0] == 1 && a.steps[0] == 1;
    }
    case Op::kIdentity:
      return true;
    default:
      return false;
  }
}

const std::vector<RootRange>& Gradients::ranges(ValueId value) {
  auto known = ranges_.find(value);
  if (known == ranges_.end()) {
    const Shape& s = shape(value);
    known = ranges_.emplace(value, std::vector<RootRange>{{value, 0, s.size() < 2 ? element_count(s) : s[1]}}).first;
  }
  return known->second;
}

void Gradients::note_view(const Node& node) {
  auto part = [&](const std::vector<RootRange>& all, int64_t begin, int64_t end) {
    std::vector<RootRange> out;
    int64_t at = 0;
    for (const RootRange& r : all) {
      const int64_t lo = std::max(begin, at), hi = std::min(end, at + r.end - r.begin);
      if (lo < hi) out.push_back({r.root, r.begin + lo - at, r.begin + hi - at});
      at += r.end - r.begin;
    }
    return out;
  };
  switch (node.op) {
    case Op::kConcat: {
      std::vector<RootRange> all;
      for (ValueId id : node.inputs) {
        const std::vector<RootRange> more = ranges(id);
        all.insert(all.end(), more.begin(), more.end());
      }
      ranges_[node.outputs[0]] = std::move(all);
      break;
    }
    case Op::kSplit: {
      int64_t at = 0;
      const std::vector<RootRange> all = ranges(node.inputs[0]);
      for (size_t i = 0; i < node.outputs.size(); ++i) {
        const int64_t size = shape(node.outputs[i])[1];
        ranges_[node.outputs[i]] = part(all, at, at + size);
        at += size;
      }
      break;
    }
    case Op::kSlice: {
      const auto& a = std::get<SliceAttrs>(node.attrs);
      ranges_[node.outputs[0]] = part(ranges(node.inputs[0]), a.starts[0], a.ends[0]);
      break;
    }
    default:
      ranges_[node.outputs[0]] = std::vector<RootRange>(ranges(node.inputs[0]));
      break;
  }
}

bool Gradients::is_single_root(ValueId value) const {
  const auto known = ranges_.find(value);
  return known == ranges_.end() || (known->second.size() == 1 && known->second[0].root == value);
}

bool Gradients::has(ValueId value) const {
  if (const auto filled = filled_.find(value); filled != filled_.end() && filled->second) return true;
  const auto known = ranges_.find(value);
  if (known == ranges_.end()) return gradients_.count(value) > 0;
  for (const RootRange& r : known->second) {
    if (gradients_.count(r.root) > 0) return true;
  }
  return false;
}

ValueId Gradients::of(ValueId value) {
  if (!has(value)) return kNoValue;
  return gather(graph_->value(value).name + ".grad", ranges(value), [&](ValueId root) {
    Entry& e = gradients_[root];
    if (e.value == kNoValue) e = {zeros(graph_->value(root).name + ".grad", shape(root)), true};
    return e.value;
  });
}

void Gradients::own(ValueId root) {
  Entry& e = gradients_[root];
  const std::string name = graph_->value(root).name + ".grad";
  if (e.value == kNoValue) {
    e = {zeros(name, shape(root)), true};
  } else if (!e.owned) {
    TrainAttrs copy;
    copy.shape = shape(root);
    e = {add(TrainOp::kExpand, name, {e.value}, std::move(copy)), true};
  }
}

ValueId Gradients::accumulator(ValueId value) {
  const std::vector<RootRange> all = ranges(value);
  for (const RootRange& r : all) own(r.root);
  return gather(graph_->value(value).name + ".grad", all, [&](ValueId root) { return gradients_[root].value; });
}

void Gradients::contribute(ValueId to, ValueId gradient, bool owned) {
  if (!active(to)) return;
  const std::vector<RootRange> all = ranges(to);
  const std::string name = graph_->value(to).name + ".grad";
  if (all.size() == 1 && all[0].root == to) {
    Entry& e = gradients_[to];
    if (e.value == kNoValue) {
      e = {gradient, owned};
      return;
    }
    if (!e.owned) {
      e = {add_view(Op::kAdd, name, {e.value, gradient}, NoAttrs{}), true};
      return;
    }
  }
  const ValueId target = accumulator(to);
  add_node(TrainOp::kAccumulate, name, {gradient, target}, {}, 0);
}

ValueId Gradients::parameter_gradient(ValueId parameter) {
  const ValueId own_value = parameter_gradients_.at(parameter);
  bool& filled = filled_[parameter];
  if (!filled) {
    filled = true;
    return own_value;
  }
  // Several nodes share this parameter.
  const ValueId id = temporary(graph_->value(parameter).name + ".grad", shape(parameter));
  to_add_.emplace_back(id, own_value);
  return id;
}

void Gradients::finish_parameters() {
  for (const auto& [from, to] : to_add_) {
    add_node(TrainOp::kAccumulate, graph_->value(to).name, {from, to}, {}, 0);
  }
  to_add_.clear();
}

std::vector<ValueId> Gradients::unused_parameters() const {
  std::vector<ValueId> unused;
  for (const auto& [parameter, gradient] : parameter_gradients_) {
    const auto known = filled_.find(parameter);
    if (known == filled_.end() || !known->second) unused.push_back(parameter);
  }
  return unused;
}

}  // namespace sparsenet

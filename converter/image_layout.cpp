#include "converter/image_layout.h"

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>

#include "converter/graph_writer.h"

namespace sparsenet::converter {
namespace {

bool is_binary(Op op) {
  return op == Op::kAdd || op == Op::kSub || op == Op::kMul || op == Op::kDiv;
}

void replace_value(Graph* graph, ValueId from, ValueId to) {
  for (Node& node : graph->nodes) std::replace(node.inputs.begin(), node.inputs.end(), from, to);
}

// An axis of [N, H, W, C] in [N, C, H, W].
int32_t channels_first_axis(int32_t axis) {
  constexpr int32_t kTo[] = {0, 2, 3, 1};
  return kTo[axis];
}

// Follows the images from the input on, through what may stand between it and the transposes.
class ChannelsFirst {
 public:
  ChannelsFirst(Graph* graph, ValueId input) : graph_(*graph), input_(input), readers_(find_readers(*graph)) {}

  bool run() {
    const Shape shape = graph_.shape(input_);
    if (shape.size() != 4 || shape[3] > 4) return false;
    std::vector<ValueId> left{input_};
    images_.insert(input_);
    while (!left.empty()) {
      const ValueId value = left.back();
      left.pop_back();
      for (const size_t reader : readers_[static_cast<size_t>(value)]) {
        if (reader == SIZE_MAX || !follow(reader, value)) return false;
        const ValueId next = graph_.nodes[reader].outputs[0];
        if (transposes_.count(reader) == 0 && images_.insert(next).second) left.push_back(next);
      }
    }
    return !transposes_.empty() && concats_are_whole() && apply(shape);
  }

 private:
  bool follow(size_t reader, ValueId value) {
    const Node& node = graph_.nodes[reader];
    const Shape& from = graph_.shape(value);
    if (is_binary(node.op)) return has_movable_operand(node, value);
    if (node.op == Op::kSlice || node.op == Op::kIdentity) return true;
    if (node.op == Op::kQuantize || node.op == Op::kDequantize) return true;
    if (node.op == Op::kConcat) {
      concats_.insert(reader);
      return true;
    }
    const auto* transpose = std::get_if<TransposeAttrs>(&node.attrs);
    const bool transposes = transpose && transpose->perm == std::vector<int32_t>{0, 3, 1, 2};
    // With one channel the order of the axes does not matter, and exporters reshape.
    const bool reshapes = node.op == Op::kReshape && from.size() == 4 && from[3] == 1 &&
                          graph_.shape(node.outputs[0]) == Shape{from[0], 1, from[1], from[2]};
    if (!transposes && !reshapes) return false;
    const std::vector<size_t>& use = readers_[static_cast<size_t>(node.outputs[0])];
    if (std::count(use.begin(), use.end(), SIZE_MAX) > 0) return false;
    transposes_.insert(reader);
    return true;
  }

  // A constant along one axis alone, so that its elements stay in order when its axes move.
  bool has_movable_operand(const Node& node, ValueId value) const {
    const ValueId other = node.inputs[0] == value ? node.inputs[1] : node.inputs[0];
    const Value& operand = graph_.value(other);
    const auto longer =
        std::count_if(operand.shape.begin(), operand.shape.end(), [](int64_t size) { return size > 1; });
    return operand.is_constant && operand.shape.size() <= 4 && longer <= 1 &&
           graph_.shape(node.outputs[0]) == graph_.shape(value);
  }

  bool concats_are_whole() const {
    for (const size_t concat : concats_) {
      for (const ValueId id : graph_.nodes[concat].inputs) {
        if (images_.count(id) == 0) return false;
      }
    }
    return true;
  }

  bool apply(const Shape& shape) {
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      Node& node = graph_.nodes[n];
      if (transposes_.count(n) > 0) {
        replace_value(&graph_, node.outputs[0], node.inputs[0]);
      } else if (images_.count(node.outputs[0]) > 0) {
        move_axes(n);
      }
    }
    std::vector<Node> kept;
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      if (transposes_.count(n) == 0) kept.push_back(std::move(graph_.nodes[n]));
    }
    graph_.nodes = std::move(kept);
    graph_.value(input_).shape = {shape[0], shape[3], shape[1], shape[2]};
    return true;
  }

  void move_axes(size_t n) {
    Node& node = graph_.nodes[n];
    if (auto* concat = std::get_if<AxisAttrs>(&node.attrs)) concat->axis = channels_first_axis(concat->axis);
    if (auto* slice = std::get_if<SliceAttrs>(&node.attrs)) {
      for (int32_t& axis : slice->axes) axis = channels_first_axis(axis);
    }
    if (!is_binary(node.op)) return;
    for (ValueId& id : node.inputs) {
      if (images_.count(id) > 0) continue;
      const Value before = graph_.value(id);
      Shape four(4 - before.shape.size(), 1), moved(4, 1);
      four.insert(four.end(), before.shape.begin(), before.shape.end());
      for (int32_t axis = 0; axis < 4; ++axis) {
        moved[static_cast<size_t>(channels_first_axis(axis))] = four[static_cast<size_t>(axis)];
      }
      Tensor tensor = before.constant;
      tensor.shape = moved;
      id = graph_.add_constant(before.name + ".channels_first", std::move(tensor));
    }
  }

  Graph& graph_;
  ValueId input_;
  std::vector<std::vector<size_t>> readers_;
  std::unordered_set<ValueId> images_;     // values in the input's order of axes
  std::unordered_set<size_t> transposes_;  // nodes that go
  std::unordered_set<size_t> concats_;
};

using Channels = std::vector<int64_t>;  // of each channel: which one of the input it is

// The channels of `input` that a slice of it keeps; empty if it slices anything else.
Channels sliced_channels(const Node& node, ValueId input) {
  const auto* slice = std::get_if<SliceAttrs>(&node.attrs);
  Channels channels;
  if (node.op != Op::kSlice || node.inputs[0] != input || slice->axes != std::vector<int32_t>{1}) return channels;
  for (int64_t at = slice->starts[0]; at < slice->ends[0]; at += slice->steps[0]) channels.push_back(at);
  return channels;
}

// Replaces what reads picked channels of the input by something that reads the input.
class PickedChannels {
 public:
  PickedChannels(Graph* graph, ValueId input) : graph_(*graph), input_(input), readers_(find_readers(*graph)) {}

  bool run() {
    if (graph_.shape(input_).size() != 4 || graph_.shape(input_)[1] > kMostChannels) return false;
    bool any = false;
    std::unordered_map<ValueId, Channels> slices;
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const Node& node = graph_.nodes[n];
      note_split(node, &slices);
      Channels channels = sliced_channels(node, input_);
      if (!channels.empty()) slices[node.outputs[0]] = channels;
      if (node.op == Op::kConcat && std::get<AxisAttrs>(node.attrs).axis == 1) channels = concatenated(node, slices);
      if (channels.empty() || !collect(node.outputs[0], channels)) continue;
      apply(node.outputs[0], channels);
      any = true;
    }
    return any;
  }

 private:
  static constexpr int64_t kMostChannels = 64;

  void note_split(const Node& node, std::unordered_map<ValueId, Channels>* slices) const {
    const auto* split = std::get_if<SplitAttrs>(&node.attrs);
    if (!split || node.inputs[0] != input_ || split->axis != 1) return;
    int64_t next = 0;
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      Channels& channels = (*slices)[node.outputs[i]];
      for (int64_t k = 0; k < split->sizes[i]; ++k) channels.push_back(next++);
    }
  }

  Channels concatenated(const Node& node, const std::unordered_map<ValueId, Channels>& slices) const {
    Channels all;
    for (const ValueId id : node.inputs) {
      const auto found = slices.find(id);
      if (found == slices.end()) return {};
      all.insert(all.end(), found->second.begin(), found->second.end());
    }
    return all;
  }

  // Whether all that reads the value can read the input instead. Lists convolutions, and arithmetic with numbers per
  // channel in front of them, which the same order of the channels must reach.
  bool collect(ValueId picked, const Channels& channels) {
    convolutions_.clear();
    arithmetic_.clear();
    Channels sorted = channels;
    std::sort(sorted.begin(), sorted.end());
    bool permuted = static_cast<int64_t>(sorted.size()) == graph_.shape(input_)[1];
    for (size_t i = 0; i < sorted.size(); ++i) permuted = permuted && sorted[i] == static_cast<int64_t>(i);
    std::vector<ValueId> left{picked};
    while (!left.empty()) {
      const ValueId value = left.back();
      left.pop_back();
      for (const size_t reader : readers_[static_cast<size_t>(value)]) {
        if (reader == SIZE_MAX) return false;
        const Node& node = graph_.nodes[reader];
        if (node.op == Op::kConv && reads_as_image(node, value)) {
          convolutions_.push_back(reader);
        } else if (permuted && channel_operand(graph_, node, value) != kNoValue) {
          arithmetic_.push_back(reader);
          left.push_back(node.outputs[0]);
        } else {
          return false;
        }
      }
    }
    return !convolutions_.empty();
  }

  bool reads_as_image(const Node& node, ValueId value) const {
    const Value& weight = graph_.value(node.inputs[1]);
    return std::get<ConvAttrs>(node.attrs).groups == 1 && node.inputs[0] == value && node.inputs[1] != value &&
           weight.is_constant && weight.type == DataType::kFloat32;
  }

  void apply(ValueId picked, const Channels& channels) {
    for (const size_t n : convolutions_) {
      ValueId& id = graph_.nodes[n].inputs[1];
      set_constant(&id, spread_weight(graph_.value(id), channels));
    }
    std::unordered_set<ValueId> values{picked};
    for (const size_t n : arithmetic_) values.insert(graph_.nodes[n].outputs[0]);
    for (const size_t n : arithmetic_) {
      for (ValueId& id : graph_.nodes[n].inputs) {
        if (values.count(id) > 0 || element_count(graph_.shape(id)) == 1) continue;
        const Value before = graph_.value(id);
        std::vector<float> numbers(channels.size());
        for (size_t c = 0; c < channels.size(); ++c) {
          numbers[static_cast<size_t>(channels[c])] = channel_number(before, c);
        }
        set_constant(&id, Tensor::from(before.shape, std::move(numbers)));
      }
    }
    for (const size_t n : readers_[static_cast<size_t>(picked)]) {
      std::replace(graph_.nodes[n].inputs.begin(), graph_.nodes[n].inputs.end(), picked, input_);
    }
  }

  // Changes the constant, or makes one of its own for a node that shares it with others.
  void set_constant(ValueId* id, Tensor tensor) {
    if (readers_[static_cast<size_t>(*id)].size() != 1) {
      *id = graph_.add_constant(graph_.value(*id).name + ".of_the_input", std::move(tensor));
      return;
    }
    Value& value = graph_.value(*id);
    value.shape = tensor.shape;
    value.constant = std::move(tensor);
  }

  // The weight [O, I, H, W] for all channels of the input; zero for those that are not picked.
  Tensor spread_weight(const Value& weight, const Channels& channels) const {
    const auto outputs = static_cast<size_t>(weight.shape[0]), from = static_cast<size_t>(weight.shape[1]);
    const auto to = static_cast<size_t>(graph_.shape(input_)[1]);
    const auto plane = static_cast<size_t>(weight.shape[2] * weight.shape[3]);
    std::vector<float> values(outputs * to * plane, 0.f);
    const float* data = weight.constant.f32();
    for (size_t o = 0; o < outputs; ++o) {
      for (size_t c = 0; c < from; ++c) {
        float* row = values.data() + (o * to + static_cast<size_t>(channels[c])) * plane;
        for (size_t k = 0; k < plane; ++k) row[k] += data[(o * from + c) * plane + k];
      }
    }
    return Tensor::from({weight.shape[0], static_cast<int64_t>(to), weight.shape[2], weight.shape[3]},
                        std::move(values));
  }

  Graph& graph_;
  ValueId input_;
  std::vector<std::vector<size_t>> readers_;
  std::vector<size_t> convolutions_, arithmetic_;
};

// Applies a rewrite to a copy, which becomes the graph if it is well formed.
template <class Rewrite>
bool rewritten(Graph* graph, ValueId input) {
  Graph copy = *graph;
  if (!Rewrite(&copy, input).run() || !copy.infer_shapes().ok()) return false;
  *graph = std::move(copy);
  return true;
}

}  // namespace

bool make_channels_first(Graph* graph, ValueId input) {
  return rewritten<ChannelsFirst>(graph, input);
}

bool fold_picked_channels(Graph* graph, ValueId input) {
  return rewritten<PickedChannels>(graph, input);
}

ValueId channel_operand(const Graph& graph, const Node& node, ValueId x) {
  if (!is_binary(node.op) || node.inputs[0] == node.inputs[1]) return kNoValue;
  const ValueId other = node.inputs[0] == x ? node.inputs[1] : node.inputs[0];
  const Value& operand = graph.value(other);
  const Shape& image = graph.shape(x);
  if (!operand.is_constant || operand.type != DataType::kFloat32 || image.size() != 4) return kNoValue;
  if (element_count(operand.shape) == 1) return operand.shape.size() <= 4 ? other : kNoValue;
  const Shape& s = operand.shape;
  const bool per_channel = s.size() >= 3 && s.size() <= 4 && s[s.size() - 3] == image[1] && s[s.size() - 2] == 1 &&
                           s.back() == 1 && (s.size() == 3 || s[0] == 1);
  return per_channel ? other : kNoValue;
}

float channel_number(const Value& constant, size_t channel) {
  return constant.constant.f32()[element_count(constant.shape) == 1 ? 0 : channel];
}

}  // namespace sparsenet::converter

// The pass carry_channel_shuffles. A channel shuffle computes nothing, and what reads its result can just as well read
// the channels in the order in which they lie in memory, with its weights in that order too. In ShuffleNet v2 the two
// halves of a shuffled value then are ranges of the channels of few values, which concatenation and slicing join
// without a copy.
#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "graph/activations.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace sparsenet {
namespace {

// Where a channel of a value is stored: channel `index` of the value `stored`.
struct Channel {
  ValueId stored;
  int32_t index;
  bool operator<(const Channel& other) const {
    return stored != other.stored ? stored < other.stored : index < other.index;
  }
};
using Channels = std::vector<Channel>;

// A value with more ranges than one for every so many channels is better copied once than gathered by each reader.
constexpr size_t kChannelsPerRange = 6;

class ShuffleCarrier {
 public:
  explicit ShuffleCarrier(Graph* graph) : graph_(*graph), uses_(*graph) {}

  void run() {
    find_shuffles();
    if (shuffle_of_.empty()) return;
    find_carriers();
    place_channels();
    if (worthwhile_ && !readers_.empty()) rewrite();
  }

 private:
  enum class Role { kNone, kRearranges, kKeepsChannels, kMixesChannels };
  // Reshape, Transpose, Reshape: the first node's index, and what it shuffles.
  struct Shuffle {
    size_t first;
    ValueId in;
    int64_t groups;
  };
  // A node that reads a shuffled value and computes something: `order[k]` is the channel that becomes channel k.
  struct Reader {
    size_t node;
    ValueId value;
    std::vector<int32_t> order;
  };

  // By values of rank 4.
  int64_t channels_of(ValueId id) const { return graph_.shape(id)[1]; }
  bool is_image(ValueId id) const { return graph_.shape(id).size() == 4; }

  void find_shuffles();
  bool ends_shuffle(size_t node, Shuffle* shuffle) const;
  Role role(const Node& node) const;
  void find_carriers();
  void place_channels();
  Channels rearranged(const Node& node, size_t output) const;
  Channels stored_as(ValueId id) const;
  void read_in_order(size_t node);
  void rewrite();
  ValueId gather(const Reader& reader, std::vector<Node>* nodes);
  void reorder_parameters(const Reader& reader, Node* node);

  Graph& graph_;
  const Uses uses_;
  std::map<size_t, Shuffle> shuffle_of_;  // by the shuffle's last node
  std::vector<bool> starts_shuffle_;      // by node
  std::vector<bool> carries_;             // by value: all that read it can read another order
  std::vector<Channels> channels_;        // by value; empty: as they are
  std::vector<Reader> readers_;
  std::map<ValueId, ValueId> gathered_;  // by value: the one with its channels as they are stored
  bool worthwhile_ = true;
};

// Reshape to [N, groups, C / groups, ...], Transpose of the two, Reshape back.
bool ShuffleCarrier::ends_shuffle(size_t i, Shuffle* shuffle) const {
  const Node& last = graph_.nodes[i];
  if (last.op != Op::kReshape) return false;
  const int middle = uses_.producer(last.inputs[0]);
  if (middle < 0 || uses_.only_user(last.inputs[0]) != static_cast<int>(i)) return false;
  const Node& transpose = graph_.nodes[static_cast<size_t>(middle)];
  if (transpose.op != Op::kTranspose) return false;
  const int begin = uses_.producer(transpose.inputs[0]);
  if (begin < 0 || uses_.only_user(transpose.inputs[0]) != middle) return false;
  const Node& first = graph_.nodes[static_cast<size_t>(begin)];
  if (first.op != Op::kReshape) return false;
  const Shape& image = graph_.shape(first.inputs[0]);
  const Shape& split = graph_.shape(first.outputs[0]);
  if (image.size() != 4 || graph_.shape(last.outputs[0]) != image || split.size() < 4) return false;
  if (split[0] != image[0] || split[1] * split[2] != image[1]) return false;
  std::vector<int32_t> perm(split.size());
  for (size_t d = 0; d < perm.size(); ++d) perm[d] = static_cast<int32_t>(d);
  std::swap(perm[1], perm[2]);
  if (std::get<TransposeAttrs>(transpose.attrs).perm != perm) return false;
  *shuffle = {static_cast<size_t>(begin), first.inputs[0], split[1]};
  return true;
}

void ShuffleCarrier::find_shuffles() {
  starts_shuffle_.assign(graph_.nodes.size(), false);
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    Shuffle shuffle{};
    if (!ends_shuffle(i, &shuffle)) continue;
    shuffle_of_[i] = shuffle;
    starts_shuffle_[shuffle.first] = true;
  }
}

// What a node that reads values of rank 4 does with their channels.
ShuffleCarrier::Role ShuffleCarrier::role(const Node& node) const {
  Activation activation;
  switch (node.op) {
    case Op::kConv: {
      const auto& a = std::get<ConvAttrs>(node.attrs);
      const bool residual = node.inputs.size() > 3 && node.inputs[3] != kNoValue;
      if (residual || !constant_f32(graph_, node.inputs[1])) return Role::kNone;
      if (a.groups == 1) return Role::kMixesChannels;
      const bool depthwise = a.groups == channels_of(node.inputs[0]) && a.groups == channels_of(node.outputs[0]);
      const bool bias = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
      if (bias && !constant_f32(graph_, node.inputs[2])) return Role::kNone;
      return depthwise ? Role::kKeepsChannels : Role::kNone;
    }
    case Op::kConcat:
      return std::get<AxisAttrs>(node.attrs).axis == 1 ? Role::kRearranges : Role::kNone;
    case Op::kSplit:
      return std::get<SplitAttrs>(node.attrs).axis == 1 ? Role::kRearranges : Role::kNone;
    case Op::kSlice: {
      const auto& a = std::get<SliceAttrs>(node.attrs);
      return a.axes == std::vector<int32_t>{1} && a.steps[0] == 1 ? Role::kRearranges : Role::kNone;
    }
    case Op::kMaxPool:
    case Op::kAveragePool:
    case Op::kGlobalAveragePool:
      return Role::kKeepsChannels;
    default:
      return is_activation(node, &activation) ? Role::kKeepsChannels : Role::kNone;
  }
}

// Backwards, because a node that keeps channels apart can read another order only if the readers of its result can.
void ShuffleCarrier::find_carriers() {
  carries_.assign(graph_.values.size(), true);
  for (size_t v = 0; v < graph_.values.size(); ++v) {
    carries_[v] = graph_.values[v].shape.size() == 4 && !graph_.values[v].is_constant;
  }
  for (ValueId id : graph_.outputs) carries_[static_cast<size_t>(id)] = false;
  for (size_t i = graph_.nodes.size(); i-- > 0;) {
    const Node& node = graph_.nodes[i];
    if (const auto shuffle = shuffle_of_.find(i); shuffle != shuffle_of_.end()) {
      if (!carries_[static_cast<size_t>(node.outputs[0])]) carries_[static_cast<size_t>(shuffle->second.in)] = false;
      continue;
    }
    if (starts_shuffle_[i]) continue;
    Role what = Role::kNone;
    if (node.inputs[0] != kNoValue && is_image(node.inputs[0])) what = role(node);
    bool can = what != Role::kNone;
    if (what != Role::kMixesChannels) {
      for (ValueId id : node.outputs) can = can && carries_[static_cast<size_t>(id)];
    }
    for (ValueId id : node.inputs) {
      if (id != kNoValue && !can) carries_[static_cast<size_t>(id)] = false;
    }
  }
}

Channels ShuffleCarrier::stored_as(ValueId id) const {
  const Channels& known = channels_[static_cast<size_t>(id)];
  if (!known.empty()) return known;
  Channels all;
  for (int32_t c = 0; c < channels_of(id); ++c) all.push_back({id, c});
  return all;
}

// The channels of an output of Concat, Split or Slice.
Channels ShuffleCarrier::rearranged(const Node& node, size_t output) const {
  Channels all;
  for (ValueId id : node.inputs) {
    const Channels part = stored_as(id);
    all.insert(all.end(), part.begin(), part.end());
  }
  int64_t begin = 0, end = static_cast<int64_t>(all.size());
  if (node.op == Op::kSlice) {
    begin = std::get<SliceAttrs>(node.attrs).starts[0];
    end = std::get<SliceAttrs>(node.attrs).ends[0];
  } else if (node.op == Op::kSplit) {
    const auto& sizes = std::get<SplitAttrs>(node.attrs).sizes;
    for (size_t i = 0; i < output; ++i) begin += sizes[i];
    end = begin + sizes[output];
  }
  return {all.begin() + begin, all.begin() + end};
}

// Follows the channels from the shuffles to the nodes that compute with them.
void ShuffleCarrier::place_channels() {
  channels_.assign(graph_.values.size(), {});
  std::vector<bool> shuffled(graph_.values.size(), false);
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    const ValueId out = node.outputs[0];
    if (const auto shuffle = shuffle_of_.find(i); shuffle != shuffle_of_.end()) {
      if (!carries_[static_cast<size_t>(out)]) continue;
      const Channels in = stored_as(shuffle->second.in);
      const auto groups = static_cast<size_t>(shuffle->second.groups);
      Channels& mine = channels_[static_cast<size_t>(out)];
      for (size_t c = 0; c < in.size(); ++c) mine.push_back(in[c % groups * (in.size() / groups) + c / groups]);
      shuffled[static_cast<size_t>(out)] = true;
      continue;
    }
    if (node.inputs.empty() || node.inputs[0] == kNoValue || !is_image(node.inputs[0]) || starts_shuffle_[i]) continue;
    const Role what = role(node);
    bool reads_shuffled = false;
    for (ValueId id : node.inputs)
      reads_shuffled = reads_shuffled || (id != kNoValue && shuffled[static_cast<size_t>(id)]);
    if (what == Role::kRearranges) {
      for (size_t o = 0; o < node.outputs.size(); ++o) {
        if (!carries_[static_cast<size_t>(node.outputs[o])]) continue;
        channels_[static_cast<size_t>(node.outputs[o])] = rearranged(node, o);
        shuffled[static_cast<size_t>(node.outputs[o])] = reads_shuffled;
      }
    } else if (reads_shuffled) {
      read_in_order(i);
      shuffled[static_cast<size_t>(out)] = what == Role::kKeepsChannels;
    }
  }
}

// Lets a node read its input's channels in the order in which they are stored.
void ShuffleCarrier::read_in_order(size_t i) {
  const Node& node = graph_.nodes[i];
  const Channels& channels = channels_[static_cast<size_t>(node.inputs[0])];
  Reader reader{i, node.inputs[0], std::vector<int32_t>(channels.size())};
  for (size_t c = 0; c < channels.size(); ++c) reader.order[c] = static_cast<int32_t>(c);
  std::stable_sort(reader.order.begin(), reader.order.end(), [&](int32_t a, int32_t b) {
    return channels[static_cast<size_t>(a)] < channels[static_cast<size_t>(b)];
  });
  if (role(node) == Role::kKeepsChannels) {
    Channels& mine = channels_[static_cast<size_t>(node.outputs[0])];
    mine.resize(channels.size());
    for (size_t k = 0; k < reader.order.size(); ++k) {
      mine[static_cast<size_t>(reader.order[k])] = {node.outputs[0], static_cast<int32_t>(k)};
    }
  }
  size_t ranges = 1;
  for (size_t k = 1; k < reader.order.size(); ++k) {
    const Channel& before = channels[static_cast<size_t>(reader.order[k - 1])];
    const Channel& here = channels[static_cast<size_t>(reader.order[k])];
    ranges += here.stored != before.stored || here.index != before.index + 1;
  }
  if (ranges > 1 + channels.size() / kChannelsPerRange) worthwhile_ = false;
  readers_.push_back(std::move(reader));
}

// The value with the reader's channels in stored order: slices of what is stored, side by side.
ValueId ShuffleCarrier::gather(const Reader& reader, std::vector<Node>* nodes) {
  const auto known = gathered_.find(reader.value);
  if (known != gathered_.end()) return known->second;
  const Channels& channels = channels_[static_cast<size_t>(reader.value)];
  const std::string name = graph_.value(reader.value).name;
  Shape shape = graph_.shape(reader.value);
  std::vector<ValueId> parts;
  for (size_t k = 0; k < reader.order.size();) {
    const Channel first = channels[static_cast<size_t>(reader.order[k])];
    int32_t length = 0;
    for (; k < reader.order.size(); ++k, ++length) {
      const Channel& next = channels[static_cast<size_t>(reader.order[k])];
      if (next.stored != first.stored || next.index != first.index + length) break;
    }
    parts.push_back(first.stored);
    if (length == channels_of(first.stored)) continue;
    Node slice;
    slice.op = Op::kSlice;
    slice.name = name;
    slice.inputs = {first.stored};
    slice.attrs = SliceAttrs{{1}, {first.index}, {first.index + length}, {1}};
    shape[1] = length;
    parts.back() = add_pass_value(&graph_, name, shape);
    slice.outputs = {parts.back()};
    nodes->push_back(std::move(slice));
  }
  if (parts.size() > 1) {
    Node concat;
    concat.op = Op::kConcat;
    concat.name = name;
    concat.inputs = parts;
    concat.attrs = AxisAttrs{1};
    shape[1] = static_cast<int64_t>(reader.order.size());
    parts = {add_pass_value(&graph_, name, shape)};
    concat.outputs = parts;
    nodes->push_back(std::move(concat));
  }
  gathered_[reader.value] = parts[0];
  return parts[0];
}

// Puts a convolution's weights (and a depthwise one's biases) into the order of the channels that it reads now.
void ShuffleCarrier::reorder_parameters(const Reader& reader, Node* node) {
  if (node->op != Op::kConv) return;
  const bool depthwise = std::get<ConvAttrs>(node->attrs).groups > 1;
  const size_t channels = reader.order.size();
  auto reordered = [&](ValueId id, size_t blocks) {
    const float* from = constant_f32(graph_, id);
    const Shape shape = graph_.shape(id);
    const size_t all = static_cast<size_t>(element_count(shape)), run = all / (blocks * channels);
    std::vector<float> values(all);
    for (size_t b = 0; b < blocks; ++b) {
      for (size_t k = 0; k < channels; ++k) {
        const size_t at = (b * channels + static_cast<size_t>(reader.order[k])) * run;
        std::copy_n(from + at, run, values.data() + (b * channels + k) * run);
      }
    }
    return add_pass_constant(&graph_, graph_.value(id).name, shape, std::move(values));
  };
  const ValueId weight = node->inputs[1];
  node->inputs[1] = reordered(weight, depthwise ? 1 : static_cast<size_t>(graph_.shape(weight)[0]));
  if (depthwise && node->inputs.size() > 2 && node->inputs[2] != kNoValue)
    node->inputs[2] = reordered(node->inputs[2], 1);
}

void ShuffleCarrier::rewrite() {
  std::vector<Node> nodes;
  size_t next = 0;
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    Node node = graph_.nodes[i];
    if (next < readers_.size() && readers_[next].node == i) {
      node.inputs[0] = gather(readers_[next], &nodes);
      reorder_parameters(readers_[next], &node);
      ++next;
    }
    nodes.push_back(std::move(node));
  }
  graph_.nodes = std::move(nodes);
}

}  // namespace

Status carry_channel_shuffles(Graph* graph) {
  ShuffleCarrier(graph).run();
  return {};
}

}  // namespace sparsenet

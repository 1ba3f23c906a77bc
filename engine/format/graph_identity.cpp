// graph_identity(): one number for the graph that a plan was made of, a hash of everything that decides what it
// computes.
#include <cstring>
#include <type_traits>

#include "base/checksum.h"
#include "format/plan_format.h"
#include "graph/training_ops.h"

namespace sparsenet {
namespace {

// Collects numbers; lists are preceded by their length, so that no two graphs give the same sequence.
class Words {
 public:
  template <class T>
  std::enable_if_t<std::is_integral_v<T> || std::is_enum_v<T>> add(T value) {
    words_.push_back(static_cast<uint64_t>(value));
  }
  void add(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    words_.push_back(bits);
  }
  template <class List>
  std::enable_if_t<std::is_class_v<List>> add(const List& list) {
    add(list.size());
    for (const auto& item : list) add(item);
  }
  void add(const Activation& a) { all(a.kind, a.a, a.b); }
  template <class... T>
  void all(const T&... values) {
    (add(values), ...);
  }

  void operator()(const NoAttrs&) {}
  void operator()(const ConvAttrs& a) { all(a.kernel, a.stride, a.dilation, a.pads, a.groups, a.activation); }
  void operator()(const FullyConnectedAttrs& a) { add(a.activation); }
  void operator()(const BatchNormAttrs& a) { add(a.epsilon); }
  void operator()(const ClipAttrs& a) { all(a.low, a.high); }
  void operator()(const AlphaBetaAttrs& a) { all(a.alpha, a.beta); }
  void operator()(const AxisAttrs& a) { add(a.axis); }
  void operator()(const SplitAttrs& a) { all(a.axis, a.sizes); }
  void operator()(const SliceAttrs& a) { all(a.axes, a.starts, a.ends, a.steps); }
  void operator()(const PadAttrs& a) { all(a.before, a.after, a.value); }
  void operator()(const PoolAttrs& a) { all(a.kernel, a.stride, a.pads, a.ceil_mode, a.count_include_pad); }
  void operator()(const ReduceAttrs& a) { all(a.axes, a.keep_dims); }
  void operator()(const ReshapeAttrs& a) { add(a.dims); }
  void operator()(const TransposeAttrs& a) { add(a.perm); }
  void operator()(const AffineAttrs& a) { add(a.activation); }
  void operator()(const AttentionAttrs& a) { all(a.kind, a.activation, a.gate); }
  void operator()(const TrainAttrsPointer& pointer) {
    if (!pointer) return;
    const TrainAttrs& a = *pointer;
    (*this)(a.conv);
    (*this)(a.pool);
    (*this)(a.slice);
    all(a.shape, a.activation, a.axis, a.epsilon, a.alpha, a.beta);
  }

  uint64_t hash() const { return xxh64(words_.data(), words_.size() * sizeof(uint64_t)); }

 private:
  std::vector<uint64_t> words_;
};

// Graphs are hashed before anybody has checked them: a constant without data, or whose shape makes no sense, is not
// read.
uint64_t hash_contents(const Tensor& tensor) {
  return tensor.data && tensor.elements() > 0 ? xxh64(tensor.data, tensor.bytes()) : 0;
}

}  // namespace

uint64_t graph_identity(const Graph& graph) {
  Words words;
  words.add(graph.values.size());
  for (const Value& value : graph.values) {
    words.all(value.type, value.is_constant);
    if (const Quantization& q = value.quantization; !q.empty()) words.all(q.scales, q.zero_points, q.axis);
    if (!value.is_constant) continue;  // shapes follow from the inputs, and their first dimension is the batch
    words.all(value.constant.type, value.constant.shape, hash_contents(value.constant));
  }
  words.add(graph.nodes.size());
  for (const Node& node : graph.nodes) {
    words.all(node.op, node.inputs, node.outputs, node.attrs.index());
    std::visit([&words](const auto& attrs) { words(attrs); }, node.attrs);
    if (node.rounding != Rounding::kSingle) words.all(node.rounding);
  }
  words.all(graph.inputs, graph.outputs);
  return words.hash();
}

}  // namespace sparsenet

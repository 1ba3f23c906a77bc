// Writes a Model as the bytes of a .snet file. The same model gives the same bytes: everything is written in the
// model's own order, and identical constants, shapes and attributes are stored once, where the first of them stands.
#include <model_generated.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "base/checksum.h"
#include "base/guarded.h"
#include "format/integer_vectors.h"
#include "format/model_format.h"
#include "format/plan_format.h"
#include "graph/activations.h"
#include "graph/integers.h"
#include "plan/plan.h"

namespace sparsenet {
namespace {

namespace fb = flatbuffers;

// The oldest version of the format that can say what the graph means: older runtimes keep reading files that use
// nothing newer.
uint32_t version_of(const Graph& graph) {
  for (const Node& node : graph.nodes) {
    if (node.op == Op::kQuantize || node.op == Op::kDequantize || node.rounding != Rounding::kSingle) return 4;
  }
  if (has_integers(graph)) return 4;
  for (const Node& node : graph.nodes) {
    if (node.op > Op::kErf && node.op < Op::kAffine) return 3;
  }
  for (const Value& value : graph.values) {
    if (value.type == DataType::kFloat16 || !value.quantization.empty()) return 2;
  }
  for (const Node& node : graph.nodes) {
    Activation activation;
    if (is_activation(node, &activation) && activation.kind > Activation::Kind::kTanh) return 2;
    if (const auto* a = std::get_if<ConvAttrs>(&node.attrs)) activation = a->activation;
    if (const auto* a = std::get_if<FullyConnectedAttrs>(&node.attrs)) activation = a->activation;
    if (activation.kind > Activation::Kind::kTanh) return 2;
  }
  return 1;
}

constexpr uint32_t kIntegerVectorVersion = 5;

#ifdef SPARSENET_VERSION
constexpr char kProducer[] = "sparsenet " SPARSENET_VERSION;
#else
constexpr char kProducer[] = "sparsenet";
#endif

// The bits of a float, which can be a key of a map whatever its value is.
uint32_t bits(float value) {
  uint32_t result;
  std::memcpy(&result, &value, sizeof result);
  return result;
}

struct Blob {
  const void* data;
  size_t bytes;
  uint64_t offset;
  size_t owner;
  DataType type;
};

// Where each constant goes in the data section.
class DataLayout {
 public:
  // Only what has the same `owner` shares a place.
  uint64_t place(const Tensor& tensor, size_t owner = 0) {
    const size_t bytes = tensor.bytes();
    // Only constants of the same type share a place, because a plan lists its constants by their places.
    const uint64_t hash = xxh64(tensor.data, bytes);
    const auto range = by_hash_.equal_range(hash);
    for (auto it = range.first; it != range.second; ++it) {
      const Blob& blob = blobs_[it->second];
      const bool fits = blob.owner == owner && blob.type == tensor.type && blob.bytes == bytes;
      if (fits && std::memcmp(blob.data, tensor.data, bytes) == 0) return blob.offset;
    }
    const uint64_t offset = align_up(size_);
    by_hash_.emplace(hash, blobs_.size());
    blobs_.push_back({tensor.data, bytes, offset, owner, tensor.type});
    size_ = offset + bytes;
    return offset;
  }

  uint64_t size() const { return size_; }
  void copy_to(uint8_t* data) const {
    for (const Blob& blob : blobs_) std::memcpy(data + blob.offset, blob.data, blob.bytes);
  }

 private:
  std::vector<Blob> blobs_;
  std::unordered_multimap<uint64_t, size_t> by_hash_;
  uint64_t size_ = 0;
};

class Writer {
 public:
  // `with_graph`: false leaves the graph out, for devices.
  Writer(const Model& model, const Graph& graph, const std::vector<const StoredPlan*>& plans, bool with_graph)
      : model_(model), graph_(graph), stored_plans_(plans), with_graph_(with_graph), version_(version_of(graph)) {}

  Result<std::vector<uint8_t>> write() {
    const auto metadata = write_metadata(model_.metadata);
    const auto graph = with_graph_ ? write_graph() : fb::Offset<schema::Graph>();
    std::vector<fb::Offset<schema::TestVector>> vectors;
    for (const TestVector& vector : model_.test_vectors) {
      const auto inputs = builder_.CreateVector(write_inputs(vector.inputs));
      const auto outputs = builder_.CreateVector(write_tensors(vector.outputs));
      vectors.push_back(schema::CreateTestVector(builder_, inputs, outputs, vector.tolerance));
    }
    const auto vector_list = builder_.CreateVector(vectors);
    std::vector<fb::Offset<schema::Plan>> plans;
    SharedLists lists;
    for (const StoredPlan* stored : stored_plans_) {
      auto plan = write_plan(
          *stored, [this](const Tensor& tensor) { return data_.place(tensor); }, &builder_, &lists);
      if (!plan.ok()) return plan.status().with_context("plan for " + stored->target);
      plans.push_back(*plan);
    }
    // Absent rather than empty, so that a file without plans is the same as one by a writer that knew no plans.
    const auto plan_list =
        plans.empty() ? fb::Offset<fb::Vector<fb::Offset<schema::Plan>>>() : builder_.CreateVector(plans);
    const auto producer = builder_.CreateString(kProducer);
    const uint32_t version = std::max(version_, integers_.empty() ? 0 : kIntegerVectorVersion);
    schema::FinishModelBuffer(builder_, schema::CreateModel(builder_, version, version, producer, metadata, graph,
                                                            vector_list, data_.size(), plan_list));
    return assemble();
  }

 private:
  std::vector<uint8_t> assemble() const {
    const uint64_t structure = builder_.GetSize();
    const uint64_t data = align_up(structure);
    const uint64_t payload = data + data_.size();
    std::vector<uint8_t> bytes(static_cast<size_t>(payload + kFooterBytes), 0);
    std::memcpy(bytes.data(), builder_.GetBufferPointer(), static_cast<size_t>(structure));
    data_.copy_to(bytes.data() + data);
    uint8_t* footer = bytes.data() + payload;
    std::memcpy(footer, kFooterMagic, sizeof kFooterMagic);
    std::memcpy(footer + 8, &structure, 8);
    std::memcpy(footer + 16, &payload, 8);
    const uint64_t sum = xxh64(bytes.data(), static_cast<size_t>(payload) + kChecksumOffset);
    std::memcpy(footer + kChecksumOffset, &sum, 8);
    return bytes;
  }

  fb::Offset<schema::Metadata> write_metadata(const Metadata& m) {
    const auto model_name = builder_.CreateString(m.name);
    const auto architecture = builder_.CreateString(m.architecture);
    const auto provenance = builder_.CreateString(m.provenance);
    const auto license = builder_.CreateString(m.license);
    const auto labels = builder_.CreateVectorOfStrings(m.labels);
    const auto color_order = builder_.CreateString(m.color_order);
    const auto mean = builder_.CreateVector(m.mean);
    const auto std_dev = builder_.CreateVector(m.std_dev);
    const auto resize = builder_.CreateString(m.resize);
    return schema::CreateMetadata(builder_, model_name, architecture, provenance, license, labels, color_order, mean,
                                  std_dev, resize);
  }

  fb::Offset<schema::Graph> write_graph() {
    std::vector<bool> computed(graph_.values.size(), false), concatenated(graph_.values.size(), false);
    for (const Node& node : graph_.nodes) {
      const bool channels = node.op == Op::kConcat && std::get<AxisAttrs>(node.attrs).axis == 1;
      for (ValueId id : node.outputs) {
        computed[static_cast<size_t>(id)] = true;
        concatenated[static_cast<size_t>(id)] = channels && graph_.value(id).type == DataType::kInt8;
      }
    }
    std::vector<fb::Offset<schema::Value>> values;
    std::vector<fb::Offset<fb::String>> names;
    for (size_t i = 0; i < graph_.values.size(); ++i) {
      const Value& value = graph_.values[i];
      const uint64_t offset = value.is_constant ? data_.place(value.constant) : 0;
      const auto value_name = builder_.CreateString(value.name);
      names.push_back(value_name);
      const auto shape = computed[i] ? fb::Offset<fb::Vector<int64_t>>() : shared_shape(value.shape);
      fb::Offset<schema::Quantization> quantization;
      const bool follows = concatenated[i] && value.quantization.scales.size() > 1;  // from its inputs
      if (const Quantization& q = value.quantization; !q.empty() && !follows) {
        const auto scales = builder_.CreateVector(q.scales);
        // Those of weights are zero, and are left out where readers know that.
        const auto zero = [](int32_t z) { return z == 0; };
        const bool zeros = version_ >= 4 && std::all_of(q.zero_points.begin(), q.zero_points.end(), zero);
        const auto zero_points = zeros ? fb::Offset<fb::Vector<int32_t>>() : builder_.CreateVector(q.zero_points);
        quantization = schema::CreateQuantization(builder_, scales, zero_points, q.axis);
      }
      values.push_back(schema::CreateValue(builder_, value_name, static_cast<uint8_t>(value.type), shape,
                                           value.is_constant, offset, quantization));
    }
    const auto value_list = builder_.CreateVector(values);
    std::vector<fb::Offset<schema::Node>> nodes;
    for (const Node& node : graph_.nodes) {
      // Most nodes have the name of the value that they compute.
      const auto first = static_cast<size_t>(node.outputs.front());
      const auto node_name = node.name == graph_.values[first].name ? names[first] : builder_.CreateString(node.name);
      const auto inputs = builder_.CreateVector(node.inputs);
      const auto outputs = builder_.CreateVector(node.outputs);
      const auto attrs = std::visit([this](const auto& a) { return write(a); }, node.attrs);
      nodes.push_back(schema::CreateNode(builder_, static_cast<uint16_t>(node.op), node_name, inputs, outputs,
                                         attrs.first, attrs.second, static_cast<uint8_t>(node.rounding)));
    }
    const auto node_list = builder_.CreateVector(nodes);
    const auto inputs = builder_.CreateVector(graph_.inputs);
    const auto outputs = builder_.CreateVector(graph_.outputs);
    return schema::CreateGraph(builder_, value_list, node_list, inputs, outputs);
  }

  // What integers of a test vector's input stand for; null if it has to be stored as it is: also if a plan does not say
  // so, because a device knows no more than that.
  const Quantization* quantization_of_vectors(size_t input) const {
    const Quantization* q = quantization_of_input(graph_, graph_.inputs[input]);
    for (const StoredPlan* stored : stored_plans_) {
      const std::vector<PlanPort>& ports = stored->plan->inputs;
      const Quantization none, &of_plan = input < ports.size() ? ports[input].of_vectors : none;
      if (q && (of_plan.scales != q->scales || of_plan.zero_points != q->zero_points)) return nullptr;
    }
    return q;
  }

  // The inputs of a test vector, as integers where that loses nothing. Integers share their place only with those of
  // the same input: readers turn them into numbers, and allow for as many as there are bytes.
  std::vector<fb::Offset<schema::Tensor>> write_inputs(const std::vector<Tensor>& inputs) {
    std::vector<fb::Offset<schema::Tensor>> list;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Quantization* q = quantization_of_vectors(i);
      std::vector<int8_t> integers = q ? integers_of(inputs[i], *q) : std::vector<int8_t>();
      if (integers.empty()) {
        list.push_back(write_tensor(inputs[i], data_.place(inputs[i])));
        continue;
      }
      integers_.push_back(std::move(integers));
      const Tensor stored = {DataType::kInt8, inputs[i].shape, nullptr, integers_.back().data()};
      list.push_back(write_tensor(stored, data_.place(stored, 1 + i)));
    }
    return list;
  }

  std::vector<fb::Offset<schema::Tensor>> write_tensors(const std::vector<Tensor>& tensors) {
    std::vector<fb::Offset<schema::Tensor>> list;
    for (const Tensor& tensor : tensors) list.push_back(write_tensor(tensor, data_.place(tensor)));
    return list;
  }

  fb::Offset<schema::Tensor> write_tensor(const Tensor& tensor, uint64_t offset) {
    const auto shape = shared_shape(tensor.shape);
    return schema::CreateTensor(builder_, static_cast<uint8_t>(tensor.type), shape, offset);
  }

  fb::Offset<fb::Vector<int64_t>> shared_shape(const Shape& shape) {
    auto& known = shapes_[shape];
    if (known.IsNull()) known = builder_.CreateVector(shape);
    return known;
  }

  // One overload for each kind of attributes.
  using Union = std::pair<schema::Attrs, fb::Offset<void>>;

  fb::Offset<schema::Activation> activation(const Activation& a) {
    if (a.kind == Activation::Kind::kNone) return {};
    return schema::CreateActivation(builder_, static_cast<uint8_t>(a.kind), a.a, a.b);
  }

  Union write(const NoAttrs&) { return {schema::Attrs::NONE, {}}; }
  Union write(const ConvAttrs& a) {
    auto& known = convs_[ConvKey{a.kernel, a.stride, a.dilation, a.pads, a.groups, a.activation.kind,
                                 bits(a.activation.a), bits(a.activation.b)}];
    if (known.IsNull()) {
      const auto fused = activation(a.activation);
      known = schema::CreateConvAttrs(builder_, a.kernel[0], a.kernel[1], a.stride[0], a.stride[1], a.dilation[0],
                                      a.dilation[1], a.pads[0], a.pads[1], a.pads[2], a.pads[3], a.groups, fused);
    }
    return {schema::Attrs::ConvAttrs, known.Union()};
  }
  Union write(const FullyConnectedAttrs& a) {
    return {schema::Attrs::FullyConnectedAttrs,
            schema::CreateFullyConnectedAttrs(builder_, activation(a.activation)).Union()};
  }
  Union write(const BatchNormAttrs& a) {
    auto& known = batch_norms_[bits(a.epsilon)];
    if (known.IsNull()) known = schema::CreateBatchNormAttrs(builder_, a.epsilon);
    return {schema::Attrs::BatchNormAttrs, known.Union()};
  }
  Union write(const ClipAttrs& a) {
    return {schema::Attrs::ClipAttrs, schema::CreateClipAttrs(builder_, a.low, a.high).Union()};
  }
  Union write(const AlphaBetaAttrs& a) {
    return {schema::Attrs::AlphaBetaAttrs, schema::CreateAlphaBetaAttrs(builder_, a.alpha, a.beta).Union()};
  }
  Union write(const AxisAttrs& a) {
    auto& known = axes_[a.axis];
    if (known.IsNull()) known = schema::CreateAxisAttrs(builder_, a.axis);
    return {schema::Attrs::AxisAttrs, known.Union()};
  }
  Union write(const SplitAttrs& a) {
    return {schema::Attrs::SplitAttrs,
            schema::CreateSplitAttrs(builder_, a.axis, builder_.CreateVector(a.sizes)).Union()};
  }
  Union write(const SliceAttrs& a) {
    const auto axes = builder_.CreateVector(a.axes);
    const auto starts = builder_.CreateVector(a.starts);
    const auto ends = builder_.CreateVector(a.ends);
    const auto steps = builder_.CreateVector(a.steps);
    return {schema::Attrs::SliceAttrs, schema::CreateSliceAttrs(builder_, axes, starts, ends, steps).Union()};
  }
  Union write(const PadAttrs& a) {
    const auto before = builder_.CreateVector(a.before);
    const auto after = builder_.CreateVector(a.after);
    return {schema::Attrs::PadAttrs, schema::CreatePadAttrs(builder_, before, after, a.value).Union()};
  }
  Union write(const PoolAttrs& a) {
    return {schema::Attrs::PoolAttrs,
            schema::CreatePoolAttrs(builder_, a.kernel[0], a.kernel[1], a.stride[0], a.stride[1], a.pads[0], a.pads[1],
                                    a.pads[2], a.pads[3], a.ceil_mode, a.count_include_pad)
                .Union()};
  }
  Union write(const ReduceAttrs& a) {
    return {schema::Attrs::ReduceAttrs,
            schema::CreateReduceAttrs(builder_, builder_.CreateVector(a.axes), a.keep_dims).Union()};
  }
  Union write(const ReshapeAttrs& a) {
    return {schema::Attrs::ReshapeAttrs, schema::CreateReshapeAttrs(builder_, builder_.CreateVector(a.dims)).Union()};
  }
  Union write(const TransposeAttrs& a) {
    return {schema::Attrs::TransposeAttrs,
            schema::CreateTransposeAttrs(builder_, builder_.CreateVector(a.perm)).Union()};
  }
  // Attributes of ops that are never stored; writable() has refused them.
  Union write(const AffineAttrs&) { return {schema::Attrs::NONE, {}}; }
  Union write(const AttentionAttrs&) { return {schema::Attrs::NONE, {}}; }
  Union write(const std::shared_ptr<const TrainAttrs>&) { return {schema::Attrs::NONE, {}}; }

  const Model& model_;
  const Graph& graph_;
  const std::vector<const StoredPlan*>& stored_plans_;
  const bool with_graph_;
  const uint32_t version_;
  fb::FlatBufferBuilder builder_{1 << 16};
  DataLayout data_;
  std::deque<std::vector<int8_t>> integers_;  // of test vectors

  // Shapes and attributes that are stored once: the kinds of which a network has hundreds.
  using ConvKey = std::tuple<std::array<int32_t, 2>, std::array<int32_t, 2>, std::array<int32_t, 2>,
                             std::array<int32_t, 4>, int32_t, Activation::Kind, uint32_t, uint32_t>;
  std::map<Shape, fb::Offset<fb::Vector<int64_t>>> shapes_;
  std::map<ConvKey, fb::Offset<schema::ConvAttrs>> convs_;
  std::map<uint32_t, fb::Offset<schema::BatchNormAttrs>> batch_norms_;
  std::map<int32_t, fb::Offset<schema::AxisAttrs>> axes_;
};

Status writable(const Model& model, const Graph& graph, const std::vector<const StoredPlan*>& plans) {
  for (const Node& node : graph.nodes) {
    const OpDefinition* definition = find_op(node.op);
    if (!definition || !definition->storable) {
      return invalid_model(describe(node) + ": this op is made by passes and is not stored in files");
    }
  }
  // Of the reader's limits, those that a builder could not even represent are checked here; the reader checks the rest.
  size_t text = 0;
  for (const Value& value : graph.values) text += value.name.size() + 128;
  for (const Node& node : graph.nodes) text += node.name.size() + (node.inputs.size() + node.outputs.size()) * 4 + 128;
  for (const std::string& label : model.metadata.labels) text += label.size() + 8;
  for (const StoredPlan* stored : plans) text += plan_bytes(*stored);
  if (text > kMaxStructureBytes)
    return invalid_model("the graph is too large for a file: " + std::to_string(text) + " bytes of names and nodes");
  SPARSENET_RETURN_IF_ERROR(check_metadata(graph, model.metadata));
  return check_test_vectors(graph, model.test_vectors);
}

}  // namespace

Result<std::vector<uint8_t>> serialize(const Model& model, bool with_graph) {
  return guarded("writing a model", [&]() -> Result<std::vector<uint8_t>> {
    if (!FLATBUFFERS_LITTLEENDIAN) return unsupported("writing model files on a big-endian machine");
    Graph graph = model.graph;  // shares the constants
    SPARSENET_RETURN_IF_ERROR(graph.infer_shapes());
    const std::vector<const StoredPlan*> plans = plans_made_of(model.plans, graph);
    SPARSENET_RETURN_IF_ERROR(writable(model, graph, plans));
    Result<std::vector<uint8_t>> bytes = Writer(model, graph, plans, with_graph).write();
    if (!bytes.ok() || !with_graph) return bytes;
    // Nothing is written that could not be read again.
    Result<Model> read = parse_model(bytes->data(), bytes->size(), nullptr);
    if (!read.ok()) return read.status().with_context("the model cannot be stored");
    return bytes;
  });
}

Result<std::vector<uint8_t>> serialize_model(const Model& model) {
  return serialize(model, true);
}

Status save_model(const Model& model, const std::string& path) {
  return guarded("saving a model", path, [&]() -> Status {
    Result<std::vector<uint8_t>> bytes = serialize_model(model);
    if (!bytes.ok()) return bytes.status().with_context(path);
    return write_file_atomically(path, bytes->data(), bytes->size());
  });
}

}  // namespace sparsenet

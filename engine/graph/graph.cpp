#include <sparsenet/graph.h>

#include <cmath>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/guarded.h"
#include "graph/ops.h"

namespace sparsenet {
namespace {

constexpr size_t kMaxRank = 8;

std::string unique_name(const Graph& graph, const std::string& base) {
  auto taken = [&graph](const std::string& name) {
    for (const Value& value : graph.values) {
      if (value.name == name) return true;
    }
    return false;
  };
  std::string name = base.empty() ? "value" : base;
  for (int i = 1; taken(name); ++i) name = base + "." + std::to_string(i);
  return name;
}

Status check_quantization(const Value& value) {
  const Quantization& q = value.quantization;
  const std::string what = "value '" + value.name + "': quantisation";
  const size_t count = q.scales.size();
  if (value.type != DataType::kInt8 && value.type != DataType::kUInt8 && value.type != DataType::kInt32) {
    return ShapeContext::mismatch(what, "a value of int8, uint8 or int32", name(value.type));
  }
  if (q.zero_points.size() != count) {
    return ShapeContext::mismatch(what, "as many zero points as scales, " + std::to_string(count),
                                  std::to_string(q.zero_points.size()));
  }
  const bool has_axis = q.axis >= 0 && static_cast<size_t>(q.axis) < value.shape.size();
  const int64_t along = has_axis ? value.shape[static_cast<size_t>(q.axis)] : 1;
  if (count != 1 && (!has_axis || static_cast<int64_t>(count) != along)) {
    return ShapeContext::mismatch(what, "one scale, or one for each index of an axis of " + to_string(value.shape),
                                  std::to_string(count) + " and axis " + std::to_string(q.axis));
  }
  for (size_t i = 0; i < count; ++i) {
    if (!(q.scales[i] > 0.f) || !std::isfinite(q.scales[i])) {
      return ShapeContext::mismatch(what, "positive scales", std::to_string(q.scales[i]));
    }
    const int32_t zero = q.zero_points[i];
    const int32_t low = value.type == DataType::kUInt8 ? 0 : value.type == DataType::kInt8 ? -128 : INT32_MIN;
    const int32_t high = value.type == DataType::kUInt8 ? 255 : value.type == DataType::kInt8 ? 127 : INT32_MAX;
    if (zero < low || zero > high) {
      return ShapeContext::mismatch(what, "zero points that its type holds", std::to_string(zero));
    }
  }
  return {};
}

// The quantisation of what a Concat along dimension 1 makes follows from its inputs: theirs, if all have the same, else
// one scale and zero point for each channel. `left` is how many of these the graph may have.
Status infer_concat_quantization(Graph* graph, const Node& node, size_t* left) {
  Value& out = graph->value(node.outputs[0]);
  if (out.type != DataType::kInt8 || std::get<AxisAttrs>(node.attrs).axis != 1) return {};
  const Quantization& first = graph->value(node.inputs[0]).quantization;
  bool same = first.scales.size() == 1;
  for (ValueId id : node.inputs) {
    const Quantization& q = graph->value(id).quantization;
    if (q.empty() || q.zero_points.size() != q.scales.size()) return {};  // an error that is reported later
    if (q.scales.size() > 1 && static_cast<int64_t>(q.scales.size()) != graph->shape(id)[1]) return {};
    same = same && q.scales == first.scales && q.zero_points == first.zero_points;
  }
  const auto channels = static_cast<size_t>(out.shape[1]);
  if (same) {
    out.quantization = first;
    return {};
  }
  if (channels > *left) return invalid_model(describe(node) + ": too many channels with scales of their own");
  *left -= channels;
  Quantization q;
  q.axis = 1;
  for (ValueId id : node.inputs) {
    const Quantization& from = graph->value(id).quantization;
    const bool one = from.scales.size() == 1;
    for (size_t c = 0; c < static_cast<size_t>(graph->shape(id)[1]); ++c) {
      q.scales.push_back(from.scales[one ? 0 : c]);
      q.zero_points.push_back(from.zero_points[one ? 0 : c]);
    }
  }
  out.quantization = std::move(q);
  return {};
}

// The body of infer_shapes().
Status infer_all(Graph* graph) {
  auto in_range = [graph](ValueId id) { return id >= 0 && static_cast<size_t>(id) < graph->values.size(); };
  std::vector<bool> made(graph->values.size(), false);
  size_t channel_scales = size_t{1} << 20;  // so that a small file cannot expand to huge lists
  std::unordered_set<std::string_view> names;
  names.reserve(graph->values.size());
  for (size_t i = 0; i < graph->values.size(); ++i) {
    const Value& value = graph->values[i];
    if (value.name.empty()) return invalid_model("value " + std::to_string(i) + " has no name");
    if (!names.insert(value.name).second) return invalid_model("two values are named '" + value.name + "'");
    if (!value.is_constant) continue;
    if (value.shape.size() > kMaxRank || element_count(value.shape) < 0) {
      return invalid_model("constant '" + value.name + "': shape " + to_string(value.shape) + " is too large");
    }
    if (value.shape != value.constant.shape || value.type != value.constant.type || !value.constant.data) {
      return invalid_model("constant '" + value.name + "': data does not fit its shape " + to_string(value.shape));
    }
    made[i] = true;
  }
  if (graph->inputs.empty()) return invalid_model("the graph has no input");
  if (graph->outputs.empty()) return invalid_model("the graph has no output");
  int64_t batch = 0;
  for (ValueId id : graph->inputs) {
    if (!in_range(id)) return invalid_model("graph input " + std::to_string(id) + " does not exist");
    const Value& value = graph->value(id);
    if (made[static_cast<size_t>(id)])
      return invalid_model("graph input '" + value.name + "' is a constant or listed twice");
    made[static_cast<size_t>(id)] = true;
    if (value.shape.empty() || value.shape.size() > kMaxRank || element_count(value.shape) <= 0) {
      return invalid_model("graph input '" + value.name + "': shape " + to_string(value.shape) +
                           " is empty or too large");
    }
    if (batch == 0) batch = value.shape[0];
    if (value.shape[0] != batch) {
      return invalid_model("graph input '" + value.name + "': expected batch " + std::to_string(batch) + ", found " +
                           to_string(value.shape));
    }
  }
  for (const Node& node : graph->nodes) {
    for (ValueId id : node.inputs) {
      if (id == kNoValue) continue;
      if (!in_range(id))
        return invalid_model(describe(node) + ": input value " + std::to_string(id) + " does not exist");
      if (!made[static_cast<size_t>(id)]) {
        return invalid_model(describe(node) + ": input '" + graph->value(id).name + "' is used before it is made");
      }
    }
    for (ValueId id : node.outputs) {
      if (!in_range(id))
        return invalid_model(describe(node) + ": output value " + std::to_string(id) + " does not exist");
      if (made[static_cast<size_t>(id)]) {
        return invalid_model(describe(node) + ": output '" + graph->value(id).name + "' is made twice");
      }
      made[static_cast<size_t>(id)] = true;
    }
    std::vector<Shape> shapes;
    SPARSENET_RETURN_IF_ERROR(infer_node(*graph, node, &shapes));
    for (size_t i = 0; i < shapes.size(); ++i) graph->value(node.outputs[i]).shape = std::move(shapes[i]);
    if (node.op == Op::kConcat) SPARSENET_RETURN_IF_ERROR(infer_concat_quantization(graph, node, &channel_scales));
  }
  for (ValueId id : graph->outputs) {
    if (!in_range(id) || !made[static_cast<size_t>(id)]) {
      return invalid_model("graph output " + std::to_string(id) + " is never made");
    }
  }
  for (const Value& value : graph->values) {
    if (!value.quantization.empty()) SPARSENET_RETURN_IF_ERROR(check_quantization(value));
  }
  return {};
}

}  // namespace

ValueId Graph::add_input(std::string name, Shape shape, DataType type) {
  const auto id = static_cast<ValueId>(values.size());
  Value value;
  value.name = std::move(name);
  value.type = type;
  value.shape = std::move(shape);
  inputs.push_back(id);
  try {
    values.push_back(std::move(value));
  } catch (...) {
    inputs.pop_back();
    throw;
  }
  return id;
}

ValueId Graph::add_constant(std::string name, Tensor tensor) {
  const auto id = static_cast<ValueId>(values.size());
  Value value;
  value.name = std::move(name);
  value.type = tensor.type;
  value.shape = tensor.shape;
  value.is_constant = true;
  value.constant = std::move(tensor);
  values.push_back(std::move(value));
  return id;
}

ValueId Graph::add_node(Op op, std::string node_name, std::vector<ValueId> node_inputs, Attrs attrs,
                        std::string output_name) {
  if (output_name.empty()) output_name = unique_name(*this, node_name);
  return add_node_multi(op, std::move(node_name), std::move(node_inputs), std::move(attrs),
                        {std::move(output_name)})[0];
}

std::vector<ValueId> Graph::add_node_multi(Op op, std::string node_name, std::vector<ValueId> node_inputs, Attrs attrs,
                                           std::vector<std::string> output_names) {
  Node node;
  node.op = op;
  node.name = std::move(node_name);
  node.inputs = std::move(node_inputs);
  node.attrs = std::move(attrs);
  const size_t before = values.size();
  try {
    for (std::string& output_name : output_names) {
      node.outputs.push_back(static_cast<ValueId>(values.size()));
      Value value;
      value.name = std::move(output_name);
      values.push_back(std::move(value));
    }
    std::vector<Shape> shapes;
    bool known = true;
    for (ValueId id : node.inputs) {
      known = known && (id == kNoValue || (id >= 0 && static_cast<size_t>(id) < values.size()));
    }
    if (known && infer_node(*this, node, &shapes).ok()) {
      for (size_t i = 0; i < shapes.size(); ++i) values[static_cast<size_t>(node.outputs[i])].shape = shapes[i];
    }
    std::vector<ValueId> ids = node.outputs;
    nodes.push_back(std::move(node));
    return ids;
  } catch (...) {
    values.resize(before);
    throw;
  }
}

Status Graph::infer_shapes() {
  return guarded("checking a graph", [this] { return infer_all(this); });
}

Status Graph::set_batch(int64_t n) {
  return guarded("setting the batch of a graph", [&]() -> Status {
    if (n < 1 || n > INT32_MAX) return invalid_argument("batch: expected 1 or more, found " + std::to_string(n));
    for (ValueId id : inputs) {
      if (id < 0 || static_cast<size_t>(id) >= values.size() || values[static_cast<size_t>(id)].shape.empty()) {
        return invalid_model("graph input " + std::to_string(id) + " has no batch dimension");
      }
      values[static_cast<size_t>(id)].shape[0] = n;
    }
    return infer_all(this);
  });
}

int64_t Graph::parameter_count() const {
  std::unordered_set<ValueId> counted;  // shared parameters count once
  int64_t count = 0;
  for (const Node& node : nodes) {
    size_t last = 0;  // inputs 1 .. last hold the parameters
    if (node.op == Op::kConv || node.op == Op::kFullyConnected || node.op == Op::kBatchNorm) last = 2;
    for (size_t i = 1; i <= last && i < node.inputs.size(); ++i) {
      const ValueId id = node.inputs[i];
      if (id != kNoValue && counted.insert(id).second) count += element_count(shape(id));
    }
  }
  return count;
}

int64_t Graph::macs_per_image() const {
  int64_t macs = 0;
  for (const Node& node : nodes) macs += node_macs(*this, node);
  const int64_t batch = inputs.empty() || shape(inputs[0]).empty() ? 1 : shape(inputs[0])[0];
  return macs / (batch < 1 ? 1 : batch);
}

}  // namespace sparsenet

#include "converter/onnx/graph_ports.h"

#include <algorithm>
#include <limits>

#include "converter/onnx/graph_order.h"

namespace sparsenet::converter {
namespace {

using onnx_ns::GraphProto;
using onnx_ns::TensorProto;
using onnx_ns::ValueInfoProto;

// The shape that a value_info declares, with sizes that it leaves open as -1. False if there is none or it is not a
// tensor.
bool declared_shape(const ValueInfoProto& info, Shape* out) {
  if (!info.has_type() || !info.type().has_tensor_type() || !info.type().tensor_type().has_shape()) return false;
  out->clear();
  for (const auto& dim : info.type().tensor_type().shape().dim()) {
    const bool known = dim.has_dim_value() && dim.dim_value() > 0;
    out->push_back(known ? dim.dim_value() : -1);
  }
  return true;
}

// The shape as the file writes it: "[N, 3, h, w]".
std::string symbolic_shape(const ValueInfoProto& info, const Shape& shape) {
  std::string text;
  for (size_t d = 0; d < shape.size(); ++d) {
    const auto& dim = info.type().tensor_type().shape().dim(static_cast<int>(d));
    const std::string name = dim.dim_param().empty() ? "?" : dim.dim_param();
    text += (text.empty() ? "" : ", ") + (shape[d] == -1 ? name : std::to_string(shape[d]));
  }
  return "[" + text + "]";
}

// An --input-shape to copy, with sizes of photographs in place of those that the file leaves open.
std::string example_of(const std::string& name, const Shape& shape) {
  constexpr int64_t kPixels = 224;
  const bool plain = name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:-") ==
                     std::string::npos;
  const bool channels_last = shape.size() == 4 && shape[3] >= 1 && shape[3] <= 4;
  std::string text;
  for (size_t d = 0; d < shape.size(); ++d) {
    int64_t size = shape[d];
    if (size == -1) size = d == 0 ? 1 : d == 1 && shape.size() == 4 && !channels_last ? 3 : kPixels;
    text += (text.empty() ? "" : ",") + std::to_string(size);
  }
  text = name + "=" + text;
  return "--input-shape " + (plain ? text : "'" + text + "'");
}

class InputReader {
 public:
  InputReader(const GraphOptions& options, OnnxState* state) : options_(options), state_(*state) {}

  void read(const ValueInfoProto& input) {
    const std::string subject = "input '" + input.name() + "'";
    Report& report = *state_.report;
    const int32_t type = input.type().tensor_type().elem_type();
    state_.half_network = state_.half_network || type == TensorProto::FLOAT16;
    const bool whole = type == TensorProto::UINT8 || type == TensorProto::INT8;
    const bool floats = type == TensorProto::FLOAT || type == TensorProto::FLOAT16 || type == TensorProto::DOUBLE;
    OnnxValue value;
    Shape shape;
    const std::string reason = !floats && !whole ? "expected floats, found element type " + onnx_type_name(type)
                                                 : shape_problem(input, &shape);
    const bool quantized = whole && is_quantized(input.name());
    if (reason.empty()) {
      if (whole) value.bytes = type == TensorProto::UINT8 ? OnnxValue::Bytes::kUInt8 : OnnxValue::Bytes::kInt8;
      const DataType stored = type == TensorProto::UINT8 ? DataType::kUInt8 : DataType::kInt8;
      value.id = state_.writer.input(input.name(), shape, quantized ? stored : DataType::kFloat32);
      value.is_quantized = quantized;
      value.is_integer = whole && !quantized;
    } else {
      report.problem(subject, reason);
    }
    if (type == TensorProto::FLOAT16) {
      report.note(subject + " is float16 and becomes float32: the network computes without float16's rounding");
    } else if (type == TensorProto::DOUBLE) {
      report.note(subject + " becomes float32");
    } else if (whole && !quantized && reason.empty()) {
      report.note(subject + " is " + onnx_type_name(type) + " and becomes float32, with the same whole numbers");
      report.byte_inputs = true;
    }
    state_.values[input.name()] = value;
  }

 private:
  // Whether all that reads the input takes it for quantised integers and says their scale.
  bool is_quantized(const std::string& name) const {
    const auto uses = state_.uses.find(name), quantized = state_.quantized_uses.find(name);
    return quantized != state_.quantized_uses.end() && uses != state_.uses.end() && quantized->second == uses->second;
  }

  // Sets the shape; the reason why there is none, or "".
  std::string shape_problem(const ValueInfoProto& input, Shape* shape) {
    const auto given = std::find_if(options_.input_shapes.begin(), options_.input_shapes.end(),
                                    [&](const auto& entry) { return entry.first == input.name(); });
    const bool is_given = given != options_.input_shapes.end();
    const bool declared = declared_shape(input, shape) && !shape->empty();
    if (is_given && declared) {
      bool fits = shape->size() == given->second.size();
      for (size_t d = 0; fits && d < shape->size(); ++d) fits = (*shape)[d] == -1 || (*shape)[d] == given->second[d];
      if (!fits) {
        return "--input-shape: the file has the shape " + symbolic_shape(input, *shape) +
               ", whose numbers are fixed; found " + to_string(given->second);
      }
    }
    if (is_given) *shape = given->second;
    if (!is_given && !declared) {
      return "expected a tensor with a batch dimension; say its shape with --input-shape " + input.name() + "=...";
    }
    if (shape->size() > 8) return "rank " + std::to_string(shape->size()) + ": expected at most 8";
    if (std::count(shape->begin() + 1, shape->end(), -1) > 0) {
      return "its shape " + symbolic_shape(input, *shape) +
             " leaves sizes open; only the batch may be: give them, for example " + example_of(input.name(), *shape);
    }
    int64_t& batch = state_.batch;
    Shape written;
    state_.batch_is_free =
        state_.batch_is_free || !declared_shape(input, &written) || written.empty() || written[0] == -1;
    if ((*shape)[0] == -1) (*shape)[0] = batch == 0 ? 1 : batch;
    if (batch == 0) batch = (*shape)[0];
    if (element_count(*shape) <= 0 || element_count(*shape) > std::numeric_limits<int32_t>::max()) {
      return "shape " + to_string(*shape) + " is too large";
    }
    if ((*shape)[0] == batch) return "";
    return "expected batch " + std::to_string(batch) + " as the other inputs have, found " + to_string(*shape);
  }

  const GraphOptions& options_;
  OnnxState& state_;
};

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

void read_initializers(GraphProto* graph, OnnxState* state) {
  for (TensorProto& proto : *graph->mutable_initializer()) {
    const std::string subject = "tensor '" + proto.name() + "'";
    Result<HostTensor> tensor = within_budget(subject, [&] { return take_tensor(&proto, state->folder); });
    OnnxValue value;
    if (!tensor.ok()) {
      state->report->problem(subject, tensor.status().message());
    } else {
      tensor->source = proto.name();
      state->initializer_elements += tensor->size();
      if (tensor->is_float() && tensor->type != ElementType::kFloat32) {
        state->report->note("tensor '" + printable(proto.name()) + "' converted from " + name(tensor->type) +
                            " to float32");
      }
      state->records[proto.name()] = state->report->tensors.size();
      state->report->tensors.push_back({proto.name(), name(tensor->type), tensor->shape, "", ""});
      value.constant = std::make_shared<const HostTensor>(std::move(tensor).value());
    }
    if (!state->values.emplace(proto.name(), std::move(value)).second) {
      state->report->problem(subject, "two initializers have this name");
    }
  }
}

void read_inputs(const GraphProto& graph, const GraphOptions& options, const std::unordered_set<std::string>* needed,
                 OnnxState* state) {
  InputReader reader(options, state);
  std::vector<std::string> names;
  for (const ValueInfoProto& input : graph.input()) {
    // Up to IR version 3 initializers are also listed among the inputs.
    if (state->values.count(input.name())) continue;
    names.push_back(input.name());
    if (!needed || needed->count(input.name())) reader.read(input);
  }
  for (const auto& [name, shape] : options.input_shapes) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    state->report->problem("", "--input-shape: the file has no input '" + name + "'; it has " + listed(names));
    state->report->wrong_usage = true;
  }
  for (const ValueInfoProto& info : graph.value_info()) {
    Shape shape;
    if (!declared_shape(info, &shape) || shape.empty()) continue;
    if (shape[0] == -1) shape[0] = std::max<int64_t>(state->batch, 1);
    if (std::count(shape.begin(), shape.end(), -1) == 0) state->declared_shapes[info.name()] = shape;
  }
}

std::vector<std::string> wanted_outputs(const GraphProto& graph, const GraphOptions& options, Report* report) {
  std::vector<std::string> own;
  for (const ValueInfoProto& output : graph.output()) own.push_back(output.name());
  if (options.outputs.empty()) return own;
  std::unordered_set<std::string> made;
  for (const auto& node : graph.node()) made.insert(node.output().begin(), node.output().end());
  for (const std::string& name : options.outputs) {
    if (made.count(name)) continue;
    report->problem("", "--outputs: no node of the file makes '" + name + "'; its outputs are " + listed(own));
    report->wrong_usage = true;
  }
  return options.outputs;
}

}  // namespace sparsenet::converter

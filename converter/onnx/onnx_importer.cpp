// ONNX -> Graph. Visits the nodes in order; a node that cannot be imported becomes a problem, and its outputs become
// unknown (or get the shape that the file declares), so that one pass finds all problems of a file.
#include <algorithm>
#include <limits>

#include "converter/importers.h"
#include "converter/onnx/message_memory.h"
#include "converter/onnx/node_context.h"
#include "converter/onnx/operator_table.h"
#include "converter/onnx/other_operators.h"

namespace sparsenet::converter {
namespace {

using onnx_ns::GraphProto;
using onnx_ns::ModelProto;
using onnx_ns::NodeProto;
using onnx_ns::TensorProto;
using onnx_ns::ValueInfoProto;

constexpr int64_t kMinOpset = 7, kMaxOpset = 21;

// The shape that a value_info declares, with symbolic dimensions as -1. False if there is none or it is not a tensor.
bool declared_shape(const ValueInfoProto& info, Shape* out) {
  if (!info.has_type() || !info.type().has_tensor_type() || !info.type().tensor_type().has_shape()) return false;
  out->clear();
  for (const auto& dim : info.type().tensor_type().shape().dim()) {
    const bool known = dim.has_dim_value() && dim.dim_value() > 0;
    out->push_back(known ? dim.dim_value() : -1);
  }
  return true;
}

class OnnxImporter {
 public:
  OnnxImporter(ModelProto* model, const std::string& folder, Report* report)
      : model_(*model), graph_(*model->mutable_graph()) {
    state_.report = report;
    state_.folder = folder;
  }

  Graph run() {
    Report& report = *state_.report;
    if (!model_.has_graph() || graph_.node_size() == 0) {
      report.problem("", "the file holds no ONNX graph");
      return {};
    }
    check_model();
    read_initializers();
    read_inputs();
    count_uses();
    for (NodeProto& node : *graph_.mutable_node()) import_node(&node);
    set_outputs();
    finish();
    return std::move(state_.writer.graph);
  }

 private:
  void problem(std::string subject, std::string reason) {
    state_.report->problem(std::move(subject), std::move(reason));
  }

  void check_model() {
    for (const auto& opset : model_.opset_import()) {
      if (!opset.domain().empty() && opset.domain() != "ai.onnx") continue;
      state_.opset = opset.version();
    }
    if (state_.opset < kMinOpset || state_.opset > kMaxOpset) {
      problem("", "opset: expected " + std::to_string(kMinOpset) + " to " + std::to_string(kMaxOpset) + ", found " +
                      std::to_string(state_.opset));
    }
    if (graph_.sparse_initializer_size() > 0) problem("", "sparse initializers are not supported");
  }

  void read_initializers() {
    for (TensorProto& proto : *graph_.mutable_initializer()) {
      const std::string subject = "tensor '" + proto.name() + "'";
      Result<HostTensor> tensor = within_budget(subject, [&] { return take_tensor(&proto, state_.folder); });
      OnnxValue value;
      if (!tensor.ok()) {
        problem(subject, tensor.status().message());
      } else {
        tensor->source = proto.name();
        if (tensor->is_float() && tensor->type != ElementType::kFloat32) {
          state_.report->note("tensor '" + printable(proto.name()) + "' converted from " + name(tensor->type) +
                              " to float32");
        }
        state_.records[proto.name()] = state_.report->tensors.size();
        state_.report->tensors.push_back({proto.name(), name(tensor->type), tensor->shape, "", ""});
        value.constant = std::make_shared<const HostTensor>(std::move(tensor).value());
      }
      if (!state_.values.emplace(proto.name(), std::move(value)).second)
        problem(subject, "two initializers have this name");
    }
  }

  void read_inputs() {
    for (const ValueInfoProto& input : graph_.input()) {
      // Up to IR version 3 initializers are also listed among the inputs.
      if (state_.values.count(input.name())) continue;
      const std::string subject = "input '" + input.name() + "'";
      Shape shape;
      OnnxValue value;
      const int32_t type = input.type().tensor_type().elem_type();
      state_.half_network = state_.half_network || type == TensorProto::FLOAT16;
      if (!declared_shape(input, &shape) || shape.empty()) {
        problem(subject, "expected a tensor with a batch dimension");
      } else if (type != TensorProto::FLOAT && type != TensorProto::FLOAT16 && type != TensorProto::DOUBLE) {
        problem(subject, "expected floats, found element type " + onnx_type_name(type));
      } else if (shape.size() > 8 || std::count(shape.begin() + 1, shape.end(), -1) > 0) {
        problem(subject, "expected fixed sizes but for the batch, found " + to_string(shape) + " (-1: not fixed)");
      } else {
        if (shape[0] == -1) shape[0] = batch_ == 0 ? 1 : batch_;
        if (batch_ == 0) batch_ = shape[0];
        if (element_count(shape) <= 0 || element_count(shape) > std::numeric_limits<int32_t>::max()) {
          problem(subject, "shape " + to_string(shape) + " is too large");
        } else if (shape[0] != batch_) {
          problem(subject,
                  "expected batch " + std::to_string(batch_) + " as the other inputs have, found " + to_string(shape));
        } else {
          value.id = state_.writer.input(input.name(), shape);
        }
      }
      if (type == TensorProto::FLOAT16) {
        state_.report->note(subject +
                            " is float16 and becomes float32: the network computes without float16's rounding");
      } else if (type == TensorProto::DOUBLE) {
        state_.report->note(subject + " becomes float32");
      }
      state_.values[input.name()] = value;
    }
    for (const ValueInfoProto& info : graph_.value_info()) {
      Shape shape;
      if (!declared_shape(info, &shape) || shape.empty()) continue;
      if (shape[0] == -1) shape[0] = std::max<int64_t>(batch_, 1);
      if (std::count(shape.begin(), shape.end(), -1) == 0) state_.declared_shapes[info.name()] = shape;
    }
  }

  void count_uses() {
    for (const NodeProto& node : graph_.node()) {
      for (const std::string& input : node.input()) ++state_.uses[input];
      quantised_ = quantised_ || is_quantised_operator(node.op_type());
    }
    for (const ValueInfoProto& output : graph_.output()) ++state_.uses[output.name()];
  }

  void import_node(NodeProto* proto) {
    const NodeProto& node = *proto;
    NodeContext context(&state_, proto);
    const std::string subject = node.op_type() + " '" + context.name() + "'";
    std::string missing;
    for (size_t i = 0; i < context.input_count(); ++i) {
      if (context.has_input(i) && !context.input(i)) missing = node.input(static_cast<int>(i));
    }
    for (const std::string& output : node.output()) {
      if (!output.empty() && !state_.values.emplace(output, OnnxValue{}).second) {
        problem(subject, "output '" + printable(output) + "' is made twice");
        return;
      }
    }
    if (!missing.empty()) {
      problem(subject, "input '" + missing + "' is not made by any node before it");
      return;
    }
    const Status status = within_budget(subject, [&] { return import_operator(context, node); });
    if (status.ok()) return;
    // A node that fails because of what it reads is only a consequence of an earlier problem.
    const bool on_quantised = quantised_ && status.message().find("int8") != std::string::npos;
    if (is_quantised_operator(node.op_type()) || on_quantised) {
      Cause cause{"the network is quantised",
                  "this version converts float networks only: give the one before quantisation", "nodes"};
      state_.report->problem(subject, "", state_.report->cause(std::move(cause)));
    } else if (is_foreign(node)) {
      state_.report->problem(subject, "", state_.report->cause(cause_of_domain(node.domain())));
    } else if (context.skipped() || only_follows(context, node)) {
      ++unchecked_;
    } else {
      problem(subject, without_context(status.message(), subject));
    }
    assume_outputs(context, node);
  }

  // The graph's own checks also name the node, so that part is removed.
  static std::string without_context(const std::string& message, const std::string& subject) {
    const std::string context = subject + ": ";
    return message.compare(0, context.size(), context) == 0 ? message.substr(context.size()) : message;
  }

  static bool is_foreign(const NodeProto& node) { return !node.domain().empty() && node.domain() != "ai.onnx"; }

  // Whether a node reads only constants, one of which is unknown because of an earlier problem: otherwise the node
  // would have been evaluated.
  static bool only_follows(const NodeContext& context, const NodeProto& node) {
    bool any_unknown = false, all_constant = true;
    for (size_t i = 0; i < context.input_count(); ++i) {
      const OnnxValue* x = context.input(i);
      if (!x) continue;
      any_unknown = any_unknown || x->unknown();
      all_constant = all_constant && (x->constant || (x->unknown() && !x->from_input));
    }
    return any_unknown && (all_constant || node.op_type() == "Shape");
  }

  Status import_operator(NodeContext& context, const NodeProto& node) {
    if (is_foreign(node)) return unsupported("an operator of another domain");
    if (node.output_size() == 0) return invalid_model("the node has no output");
    Status status = check_against_specification(node, state_.opset);
    if (!status.ok()) return status;
    if (!fold_constants(context, &status)) {
      const NodeImporter importer = find_importer(node.op_type());
      if (!importer) return unsupported(why_unknown(node.op_type()));
      status = importer(context);
    }
    return context.attribute_status().ok() ? status : context.attribute_status();
  }

  static NodeImporter find_importer(const std::string& op) {
    NodeImporter importer = find_weight_op(op);
    if (!importer) importer = find_pointwise_op(op);
    if (!importer) importer = find_pool_op(op);
    if (!importer) importer = find_shape_op(op);
    return importer;
  }

  // What follows a failed node is checked with the shape that the file declares or that the operator keeps, if known.
  void assume_outputs(const NodeContext& context, const NodeProto& node) {
    bool from_input = false;
    for (size_t i = 0; i < context.input_count(); ++i) {
      const OnnxValue* x = context.input(i);
      from_input = from_input || (x && !x->constant && (x->id != kNoValue || x->from_input));
    }
    if (!from_input || node.op_type() == "Shape") return;  // constants; all that is known is that they are unknown
    for (int i = 0; i < node.output_size(); ++i) {
      const std::string& output = node.output(i);
      OnnxValue& value = state_.values[output];
      if (!value.unknown()) continue;
      value.from_input = true;
      Shape shape;
      const OnnxValue* x = context.input(0);
      const auto declared = state_.declared_shapes.find(output);
      if (declared != state_.declared_shapes.end()) {
        shape = declared->second;
      } else if (i == 0 && keeps_shape(node.op_type()) && x && x->id != kNoValue) {
        shape = state_.writer.shape(x->id);
      }
      if (!shape.empty() && element_count(shape) > 0) value.id = state_.writer.input(output, shape);
    }
  }

  void set_outputs() {
    if (graph_.output_size() == 0) problem("", "the graph has no output");
    for (const ValueInfoProto& output : graph_.output()) {
      const std::string subject = "output '" + output.name() + "'";
      const auto found = state_.values.find(output.name());
      if (found == state_.values.end()) {
        problem(subject, "no node makes it");
      } else if (found->second.constant) {
        problem(subject, "it does not depend on the input");
      } else if (!found->second.unknown()) {
        const Status status = state_.writer.output(found->second.id, output.name());
        if (!status.ok()) problem(subject, status.message());
      } else if (state_.report->problems.empty()) {
        problem(subject, "it could not be imported");
      }
    }
  }

  void finish() {
    Report& report = *state_.report;
    for (TensorRecord& record : report.tensors) {
      if (record.how.empty()) record.how = state_.uses.count(record.source) ? "folded" : "unused";
    }
    if (!report.problems.empty()) {
      if (unchecked_ > 0) {
        report.note("of " + std::to_string(unchecked_) +
                    (unchecked_ == 1 ? " node behind the problems only the operator could"
                                     : " nodes behind the problems only the operators could") +
                    " be checked: there may be more to tell once these are solved");
      }
      return;
    }
    Graph& graph = state_.writer.graph;
    Status status = finish_graph(&graph);
    if (status.ok() && batch_ > 1) {
      Graph single = graph;
      if (single.set_batch(1).ok()) {
        graph = std::move(single);
      } else {
        report.note("the network works for a batch of " + std::to_string(batch_) + " alone");
      }
    }
    if (!status.ok()) problem("", status.message());
  }

  ModelProto& model_;
  GraphProto& graph_;  // tensors are moved out of it
  OnnxState state_;
  int64_t batch_ = 0;
  bool quantised_ = false;  // some nodes work with integers that represent quantised numbers
  size_t unchecked_ = 0;    // nodes that could not be imported because of earlier problems
};

}  // namespace

Graph import_onnx(FileBytes file, const std::string& folder, Report* report) {
  report->format = "ONNX";
  const UseBudget budget = UseBudget::keep_or_make(file.size);
  ModelProto model;
  if (file.size > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    report->problem("", "the file is larger than the 2 GiB of a protobuf message");
    return {};
  }
  MemoryCharge charge;
  const Status fits = charge.raise_to(message_memory(file.data, file.size));
  if (!fits.ok()) {
    report->problem("", fits.message());
    return {};
  }
  if (!model.ParseFromArray(file.data, static_cast<int>(file.size))) {
    report->problem("", "not an ONNX file, or a damaged one (the protobuf message cannot be read)");
    return {};
  }
  file = {};  // the message has copied everything
  report->producer = printable(model.producer_name());
  if (!model.producer_version().empty()) report->producer += " " + printable(model.producer_version());
  try {
    return OnnxImporter(&model, folder, report).run();
  } catch (const OutOfBudget& error) {
    report->problem(error.subject, error.reason);
    return {};
  }
}

Graph import_onnx(const uint8_t* data, size_t size, const std::string& folder, Report* report) {
  return import_onnx({data, size, nullptr}, folder, report);
}

}  // namespace sparsenet::converter

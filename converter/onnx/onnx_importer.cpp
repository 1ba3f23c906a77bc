// ONNX -> Graph. Visits the nodes that the outputs need, each behind those that it reads; a node that cannot be
// imported becomes a problem, and its outputs become unknown (or get the shape that the file declares), so that one
// pass finds all problems of a file.
#include <algorithm>
#include <limits>

#include "converter/importers.h"
#include "converter/onnx/graph_order.h"
#include "converter/onnx/graph_ports.h"
#include "converter/onnx/message_memory.h"
#include "converter/onnx/node_context.h"
#include "converter/onnx/operator_table.h"
#include "converter/onnx/other_operators.h"
#include "converter/onnx/quantized.h"

namespace sparsenet::converter {
namespace {

using onnx_ns::GraphProto;
using onnx_ns::ModelProto;
using onnx_ns::NodeProto;

constexpr int64_t kMinOpset = 6, kMaxOpset = 28;

class OnnxImporter {
 public:
  OnnxImporter(ModelProto* model, const std::string& folder, const GraphOptions& options, Report* report)
      : model_(*model), graph_(*model->mutable_graph()), options_(options) {
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
    read_initializers(&graph_, &state_);
    wanted_ = wanted_outputs(graph_, options_, &report);
    const std::vector<int> order = ordered_nodes(graph_, wanted_);
    count_uses(graph_, order);
    read_needed_inputs(order);
    for (const int node : order) {
      top_ = node;
      import_node(graph_.mutable_node(node));
    }
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

  std::vector<int> ordered_nodes(const GraphProto& graph, const std::vector<std::string>& wanted) {
    NodeOrder order = order_nodes(graph, wanted);
    for (auto& [subject, reason] : order.problems) problem(subject, reason);
    return std::move(order.nodes);
  }

  // With --outputs, inputs that the wanted ones do not need are left out. Otherwise the network keeps all of its own.
  void read_needed_inputs(const std::vector<int>& order) {
    std::unordered_set<std::string> needed;
    for (const int node : order) {
      for_each_read(graph_.node(node), [&needed](const std::string& name) { needed.insert(name); });
    }
    read_inputs(graph_, options_, options_.outputs.empty() ? nullptr : &needed, &state_);
  }

  void count_uses(const GraphProto& graph, const std::vector<int>& order) {
    for (const int node : order) {
      for_each_read(graph.node(node), [this](const std::string& name) { ++state_.uses[name]; });
      const NodeProto& reader = graph.node(node);
      for (int i = 0; i < reader.input_size(); ++i) {
        if (reads_quantized(reader.op_type(), static_cast<size_t>(i))) ++state_.quantized_uses[reader.input(i)];
      }
    }
    for (const std::string& output : wanted_) ++state_.uses[output];
  }

  void import_node(NodeProto* proto) {
    const NodeProto& node = *proto;
    NodeContext context(&state_, proto);
    const std::string subject = subject_of(node);
    std::string missing;
    for (size_t i = 0; i < context.input_count(); ++i) {
      if (context.has_input(i) && !context.input(i)) missing = node.input(static_cast<int>(i));
    }
    for (const std::string& output : node.output()) {
      if (!output.empty() && !state_.values.emplace(output, OnnxValue{}).second) {
        return failed(subject, "output '" + output + "' is made twice");
      }
    }
    if (!missing.empty()) {
      return failed(subject, "input '" + missing + "' is made by no node");
    }
    const Status status = within_budget(subject, [&] { return import_operator(context, proto); });
    if (status.ok()) return;
    tell_failure(context, node, status);
    assume_outputs(context, node);
  }

  void failed(const std::string& subject, const std::string& reason, size_t cause = 0) {
    failed_.insert(top_);
    state_.report->problem(subject, reason, cause);
  }

  void tell_failure(const NodeContext& context, const NodeProto& node, const Status& status) {
    const std::string subject = subject_of(node);
    // A node that fails because of what it reads is only a consequence of an earlier problem.
    if (has_dynamic_scales(node.op_type())) {
      Cause cause{"the network computes its scales while it runs",
                  "quantise it with fixed ones (in ONNX Runtime: quantize_static), or give the float network", "nodes"};
      failed(subject, "", state_.report->cause(std::move(cause)));
    } else if (is_quantised_operator(node.op_type()) && !is_imported_quantized(node.op_type())) {
      Cause cause{"the network has quantised operators that are not supported",
                  "quantise it to QuantizeLinear and DequantizeLinear around float operators (in ONNX Runtime: "
                  "QuantFormat.QDQ), or give the float network",
                  "nodes"};
      failed(subject, "", state_.report->cause(std::move(cause)));
    } else if (is_foreign(node)) {
      failed(subject, "", state_.report->cause(cause_of_domain(node.domain())));
    } else if (context.skipped() || only_follows(context, node)) {
      ++unchecked_;
      failed_.insert(top_);
    } else {
      failed(subject, without_context(status.message(), subject));
    }
  }

  // The graph's own checks also name the node, so that part is removed.
  static std::string without_context(const std::string& message, const std::string& subject) {
    const std::string context = subject + ": ";
    return message.compare(0, context.size(), context) == 0 ? message.substr(context.size()) : message;
  }

  static bool is_foreign(const NodeProto& node) {
    if (node.domain() == "com.microsoft" && is_imported_quantized(node.op_type())) return false;
    return !node.domain().empty() && node.domain() != "ai.onnx";
  }

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

  Status import_operator(NodeContext& context, NodeProto* proto) {
    const NodeProto& node = *proto;
    if (is_foreign(node)) return unsupported("an operator of another domain");
    if (node.output_size() == 0) return invalid_model("the node has no output");
    Status status = check_against_specification(node, state_.opset);
    if (status.ok()) status = apply_old_opset(context, proto);
    if (!status.ok()) return status;
    if (node.op_type() == "If") return import_if(context, proto);
    return import_checked(context, proto);
  }

  // A node of which another one is made up.
  Status import_part(NodeContext& whole, NodeProto* proto) {
    NodeContext context(&state_, proto);
    for (const std::string& output : proto->output()) state_.values.emplace(output, OnnxValue{});
    Status status = import_checked(context, proto);
    if (context.skipped()) whole.skip();
    return status;
  }

  Status import_checked(NodeContext& context, NodeProto* proto) {
    const NodeProto& node = *proto;
    Status status;
    bool done = fold_constants(context, &status);
    const auto part = [&](NodeProto* inner) { return import_part(context, inner); };
    if (!done) done = import_quantized(context, node, part, &status);
    if (!done) done = import_integers(context, &status);
    if (!done) {
      const NodeImporter importer = find_importer(node.op_type());
      if (!importer) return unsupported(why_unknown(node.op_type()));
      status = importer(context);
      if (!status.ok() && context.may_pin_batch()) {
        status = context.pin_batch();
        if (status.ok()) status = importer(context);
      }
      keep_integers(context);
    }
    return context.attribute_status().ok() ? status : context.attribute_status();
  }

  // Exporters write an If where the shape of an image decides. If the condition is known, one branch is the network's.
  Status import_if(NodeContext& context, NodeProto* node) {
    const OnnxValue* condition = context.input(0);
    if (condition && !condition->unknown() && !condition->constant) {
      return unsupported(
          "the condition is computed from the network's input, so either branch may be taken: export the network with "
          "fixed sizes, so that the exporter decides it");
    }
    SPARSENET_ASSIGN_OR_RETURN(std::vector<int64_t> values, context.ints(0, "condition"));
    if (values.size() != 1) return invalid_model("condition: expected one boolean, found " + to_string(values));
    const std::string name = values[0] != 0 ? "then_branch" : "else_branch";
    const auto found = std::find_if(node->mutable_attribute()->begin(), node->mutable_attribute()->end(),
                                    [&name](const auto& attribute) { return attribute.name() == name; });
    if (found == node->mutable_attribute()->end() || !found->has_g()) return invalid_model(name + ": expected a graph");
    GraphProto& branch = *found->mutable_g();
    if (branch.output_size() != node->output_size()) {
      return invalid_model(name + ": expected " + std::to_string(node->output_size()) + " outputs, found " +
                           std::to_string(branch.output_size()));
    }
    if (branch.sparse_initializer_size() > 0) return unsupported("sparse initializers are not supported");
    read_initializers(&branch, &state_);
    std::vector<std::string> outputs;
    for (const auto& output : branch.output()) outputs.push_back(output.name());
    for (const int inner : ordered_nodes(branch, outputs)) import_node(branch.mutable_node(inner));
    for (int i = 0; i < node->output_size(); ++i) {
      const auto value = state_.values.find(outputs[static_cast<size_t>(i)]);
      if (value == state_.values.end())
        return invalid_model(name + ": no node makes '" + outputs[static_cast<size_t>(i)] + "'");
      const OnnxValue copy = value->second;
      state_.values[node->output(i)] = copy;
    }
    return {};
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
    if (wanted_.empty()) problem("", "the graph has no output");
    for (const std::string& name : wanted_) {
      const std::string subject = "output '" + name + "'";
      const auto found = state_.values.find(name);
      if (found == state_.values.end()) {
        problem(subject, "no node makes it");
      } else if (found->second.constant) {
        problem(subject, "it does not depend on the input");
      } else if (!found->second.unknown()) {
        if (found->second.is_integer) {
          state_.report->note(subject + " holds integers: in the model it is float32, with the same whole numbers");
        }
        if (found->second.is_quantized) tell_quantized_output(name, found->second);
        const Status status = state_.writer.output(found->second.id, name);
        if (!status.ok()) problem(subject, status.message());
        if (status.ok() && found->second.is_quantized) keep_type(found->second.id);
      } else if (state_.report->problems.empty()) {
        problem(subject, "it could not be imported");
      }
    }
  }

  // Where a value is more than one output, the others are copies of it.
  void keep_type(ValueId id) {
    Graph& graph = state_.writer.graph;
    Value& output = graph.value(graph.outputs.back());
    output.type = graph.value(id).type;
    output.quantization = graph.value(id).quantization;
  }

  void tell_quantized_output(const std::string& name, const OnnxValue& value) {
    const bool shifted = value.bytes == OnnxValue::Bytes::kUInt8;
    state_.report->note(
        "output '" + printable(name) + "' holds quantised integers" +
        (shifted ? ": uint8 in the file, in the model int8, the same integers and zero point less 128" : " of int8"));
  }

  // Says which outputs of the file could be converted without the others.
  void suggest_outputs() {
    constexpr size_t kMost = 64;
    if (wanted_.size() < 2 || wanted_.size() > kMost || failed_.empty()) return;
    std::string whole;
    for (const std::string& output : wanted_) {
      const std::vector<int> needed = order_nodes(graph_, {output}).nodes;
      const auto fails = [this](int node) { return failed_.count(node) > 0; };
      if (needed.empty() || std::any_of(needed.begin(), needed.end(), fails)) continue;
      whole += (whole.empty() ? "" : ",") + output;
    }
    if (!whole.empty())
      state_.report->note("none of these nodes is needed for all outputs: --outputs " + printable(whole) +
                          " leaves them out");
  }

  void finish() {
    Report& report = *state_.report;
    for (TensorRecord& record : report.tensors) {
      if (record.how.empty()) record.how = state_.uses.count(record.source) ? "folded" : "unused";
    }
    if (!report.problems.empty()) {
      suggest_outputs();
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
    if (status.ok()) {
      compute_with_integers(&graph, state_.integers, &report);
      status = graph.infer_shapes();
    }
    if (status.ok() && state_.batch > 1) {
      Graph single = graph;
      if (single.set_batch(1).ok()) {
        graph = std::move(single);
      } else {
        report.note("the network works for a batch of " + std::to_string(state_.batch) + " alone");
      }
    }
    if (!status.ok()) problem("", status.message());
  }

  ModelProto& model_;
  GraphProto& graph_;  // tensors are moved out of it
  OnnxState state_;
  const GraphOptions& options_;
  std::vector<std::string> wanted_;  // names of the values that the network computes
  int top_ = 0;                      // the node of the graph itself that is being imported
  std::unordered_set<int> failed_;   // nodes of the graph itself that could not be imported
  size_t unchecked_ = 0;             // nodes that could not be imported because of earlier problems
};

}  // namespace

Graph import_onnx(FileBytes file, const std::string& folder, const GraphOptions& options, Report* report) {
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
    return OnnxImporter(&model, folder, options, report).run();
  } catch (const OutOfBudget& error) {
    report->problem(error.subject, error.reason);
    return {};
  }
}

Graph import_onnx(const uint8_t* data, size_t size, const std::string& folder, Report* report) {
  return import_onnx({data, size, nullptr}, folder, GraphOptions(), report);
}

}  // namespace sparsenet::converter

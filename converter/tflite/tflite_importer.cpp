// TensorFlow Lite -> Graph. One pass over the operators; one that cannot be imported becomes a problem, and what
// follows is checked with the shapes that the file declares, so that all problems are found at once.
#include <algorithm>

#include "converter/check_model.h"
#include "converter/importers.h"
#include "converter/tflite/tflite_context.h"
#include "converter/tflite/tflite_integers.h"

namespace sparsenet::converter {
namespace {

using tflite::BuiltinOperator;
using tflite::TensorType;

bool is_integer(TensorType type) {
  return type == TensorType::INT32 || type == TensorType::INT64;
}

// Integers that stand for real numbers, but of a kind that this version does not compute with.
bool is_other_quantized(TensorType type) {
  return type == TensorType::INT16 || type == TensorType::INT4;
}

DataType data_type(TensorType type) {
  return is_byte(type) ? DataType::kInt8 : DataType::kFloat32;
}

bool only_moves(Op op) {
  return op == Op::kReshape || op == Op::kTranspose || op == Op::kIdentity || op == Op::kConcat || op == Op::kSplit ||
         op == Op::kSlice || op == Op::kPad;
}

// Operators with which exporters compute the shape for a RESHAPE; if their outputs are integers they need not be
// evaluated, because the shape of every output is stored in the file.
bool is_shape_arithmetic(BuiltinOperator op) {
  switch (op) {
    case BuiltinOperator::SHAPE:
    case BuiltinOperator::STRIDED_SLICE:
    case BuiltinOperator::SLICE:
    case BuiltinOperator::PACK:
    case BuiltinOperator::CONCATENATION:
    case BuiltinOperator::GATHER:
    case BuiltinOperator::ADD:
    case BuiltinOperator::SUB:
    case BuiltinOperator::MUL:
    case BuiltinOperator::REDUCE_PROD:
    case BuiltinOperator::SQUEEZE:
    case BuiltinOperator::EXPAND_DIMS:
    case BuiltinOperator::RESHAPE:
    case BuiltinOperator::CAST:
      return true;
    default:
      return false;
  }
}

class TfliteModelImporter {
 public:
  TfliteModelImporter(const tflite::Model* model, size_t file_size, Report* report)
      : report_(*report), file_size_(file_size) {
    state_.model = model;
    state_.report = report;
  }

  Graph run() {
    if (!check_structure()) return {};
    read_tensors();
    if (refuse_quantized()) return {};
    read_inputs();
    for (const tflite::Operator* op : *state_.graph->operators()) import_operator(*op);
    set_outputs();
    finish();
    return std::move(state_.writer.graph);
  }

 private:
  void problem(std::string subject, std::string reason) { report_.problem(std::move(subject), std::move(reason)); }

  // Checks everything that later code takes for granted: tables are present, indices are in range.
  bool check_structure() {
    const tflite::Model& model = *state_.model;
    if (model.version() != 3) {
      problem("", "schema version: expected 3, found " + std::to_string(model.version()));
      return false;
    }
    if (!model.subgraphs() || model.subgraphs()->size() == 0 || !model.operator_codes()) {
      problem("", "the file holds no graph");
      return false;
    }
    if (model.subgraphs()->size() > 1) {
      problem("", "expected one graph, found " + std::to_string(model.subgraphs()->size()) +
                      " (control flow is not supported)");
      return false;
    }
    state_.graph = model.subgraphs()->Get(0);
    const tflite::SubGraph& graph = *state_.graph;
    if (!graph.tensors() || !graph.operators() || !graph.inputs() || !graph.outputs() || graph.inputs()->size() == 0 ||
        graph.outputs()->size() == 0) {
      problem("", "the graph has no tensors, operators, inputs or outputs");
      return false;
    }
    if (!written_out(graph)) {
      problem("", "the file refers to the same parts again and again");
      return false;
    }
    bool sound = check_indices(graph.inputs(), 0) && check_indices(graph.outputs(), 0);
    for (const tflite::Operator* op : *graph.operators()) {
      sound = sound && op->opcode_index() < model.operator_codes()->size() &&
              (!op->inputs() || check_indices(op->inputs(), -1)) && op->outputs() && op->outputs()->size() > 0 &&
              check_indices(op->outputs(), 0);
    }
    if (!sound) problem("", "the graph refers to tensors or operators that do not exist");
    return sound;
  }

  // In a FlatBuffer any number of references may lead to the same table or list, so a small file could expand to a huge
  // graph. Files in which everything is written where it is used stay within these bounds.
  bool written_out(const tflite::SubGraph& graph) const {
    constexpr size_t kLeastTable = 16, kLeastIndex = 4;
    const size_t tables = size_t{graph.tensors()->size()} + graph.operators()->size();
    if (tables > file_size_ / kLeastTable) return false;
    size_t indices = 0;
    for (const tflite::Operator* op : *graph.operators()) {
      indices += (op->inputs() ? op->inputs()->size() : 0) + (op->outputs() ? op->outputs()->size() : 0);
    }
    return indices <= file_size_ / kLeastIndex;
  }

  bool check_indices(const flatbuffers::Vector<int32_t>* indices, int32_t low) const {
    return std::all_of(indices->begin(), indices->end(), [&](int32_t index) {
      return index >= low && index < static_cast<int32_t>(state_.graph->tensors()->size());
    });
  }

  BuiltinOperator builtin(const tflite::Operator& op) const {
    const tflite::OperatorCode* code = state_.model->operator_codes()->Get(op.opcode_index());
    // Old files have only the first field, new ones both.
    return std::max(code->builtin_code(), static_cast<BuiltinOperator>(code->deprecated_builtin_code()));
  }

  std::string op_name(const tflite::Operator& op) const {
    const BuiltinOperator code = builtin(op);
    if (code == BuiltinOperator::CUSTOM) {
      const auto* custom = state_.model->operator_codes()->Get(op.opcode_index())->custom_code();
      constexpr uint32_t kMost = 256;
      return "CUSTOM " +
             (custom ? std::string(custom->c_str(), std::min(custom->size(), kMost)) : std::string("operator"));
    }
    const char* name = tflite::EnumNameBuiltinOperator(code);
    return name && *name ? name : "operator number " + std::to_string(static_cast<int>(code));
  }

  void read_tensors() {
    const auto count = static_cast<int32_t>(state_.graph->tensors()->size());
    state_.values.resize(static_cast<size_t>(count));
    state_.records.assign(static_cast<size_t>(count), SIZE_MAX);
    uint64_t taken = 0;
    for (int32_t i = 0; i < count; ++i) {
      if (!state_.data(i)) continue;
      taken += sizeof(TensorRecord) + 2 * state_.tensor_name(i).size() + 256;
      const Status paid = charge_.raise_to(taken);
      if (!paid.ok()) throw OutOfBudget{"", paid.message()};
      TfliteValue& value = state_.values[static_cast<size_t>(i)];
      value.kind = TfliteValue::Kind::kConstant;
      value.tensor = i;
      state_.records[static_cast<size_t>(i)] = report_.tensors.size();
      report_.tensors.push_back(
          {state_.tensor_name(i), type_name(state_.tensor(i)->type()), state_.tensor_shape(i), "", ""});
    }
  }

  // One clear sentence instead of a problem per node.
  bool refuse_quantized() {
    for (const tflite::Operator* op : *state_.graph->operators()) {
      const auto* inputs = op->inputs();
      for (uint32_t i = 0; inputs && i < inputs->size(); ++i) {
        const int32_t index = inputs->Get(i);
        if (index < 0 || !is_other_quantized(state_.tensor(index)->type())) continue;
        problem("tensor '" + state_.tensor_name(index) + "'",
                std::string("the network is quantised to ") + type_name(state_.tensor(index)->type()) +
                    ", which this version does not convert: use the model in int8, uint8 or float");
        return true;
      }
    }
    return false;
  }

  void read_inputs() {
    for (const int32_t index : *state_.graph->inputs()) {
      const std::string subject = "input '" + state_.tensor_name(index) + "'";
      Shape shape = state_.tensor_shape(index);
      const TensorType type = state_.tensor(index)->type();
      if (type != TensorType::FLOAT32 && data_type(type) == DataType::kFloat32) {
        problem(subject, std::string("expected FLOAT32, INT8 or UINT8, found ") + type_name(type));
        continue;
      }
      const auto* signature = state_.tensor(index)->shape_signature();
      for (uint32_t d = 1; signature && d < signature->size(); ++d) {
        if (signature->Get(d) < 0) report_.note(subject + ": a size that may vary was fixed to " + to_string(shape));
      }
      if (!shape.empty() && shape[0] == -1) shape[0] = 1;
      if (shape.empty() || shape.size() > 8 || element_count(shape) <= 0 || element_count(shape) > INT32_MAX) {
        problem(subject, "expected a shape with a batch dimension, found " + to_string(shape));
        continue;
      }
      batch_ = std::max(batch_, shape[0]);
      if (state_.is_unsigned(index)) {
        read_unsigned_input(index, shape);
      } else {
        assign_file_shape(index, shape);
      }
    }
  }

  // Stays an input of uint8, which becomes int8 by taking 128 off.
  void read_unsigned_input(int32_t index, const Shape& shape) {
    assign_file_shape(index, shape);
    TfliteValue& value = state_.values[static_cast<size_t>(index)];
    const ValueId input = value.id;
    Graph& graph = state_.writer.graph;
    const Quantization q = graph.value(input).quantization;
    graph.value(input).type = DataType::kUInt8;
    for (int32_t& zero : graph.value(input).quantization.zero_points) zero += 128;
    const Result<ValueId> made =
        state_.writer.node(Op::kQuantize, state_.tensor_name(index) + ".int8", {input}, NoAttrs{});
    if (!made.ok()) return problem("input '" + state_.tensor_name(index) + "'", made.status().message());
    value.id = *made;
    graph.value(*made).type = DataType::kInt8;
    graph.value(*made).quantization = q;
    state_.unsigned_inputs[*made] = input;
  }

  // Adds a graph input with the file's shape: an input of the network, or a replacement for an output that could not be
  // imported.
  void assign_file_shape(int32_t index, const Shape& shape) {
    TfliteValue& value = state_.values[static_cast<size_t>(index)];
    const bool image = shape.size() == 4;
    value.kind = TfliteValue::Kind::kActivation;
    value.layout = image ? Layout::kChannelsFirst : Layout::kPlain;
    value.id =
        state_.writer.input(state_.tensor_name(index), image ? Shape{shape[0], shape[3], shape[1], shape[2]} : shape,
                            data_type(state_.tensor(index)->type()));
    set_quantization(index, value.id);
  }

  void set_quantization(int32_t index, ValueId id) {
    Value& value = state_.writer.graph.value(id);
    if (value.type == DataType::kFloat32) return;
    value.quantization = quantization_of(*state_.tensor(index));
    value.quantization.axis = 0;
  }

  // Gives the values that an operator's nodes compute the type and quantisation that the file says. Nodes that only
  // move numbers pass on those of their input.
  Status set_types(const tflite::Operator& op, size_t first_node) {
    Graph& graph = state_.writer.graph;
    const int32_t output = op.outputs()->Get(0);
    const DataType type = data_type(state_.tensor(output)->type());
    for (size_t i = first_node; i < graph.nodes.size(); ++i) {
      Node& node = graph.nodes[i];
      const Value& from = graph.value(node.inputs[0]);
      const bool moves = only_moves(node.op) && !from.is_constant;
      for (ValueId id : node.outputs) {
        Value& to = graph.value(id);
        to.type = moves ? from.type : type;
        if (moves) {
          to.quantization = from.quantization;
        } else {
          set_quantization(output, id);
        }
      }
      if (has_integers(node)) node.rounding = Rounding::kDouble;
      // A half between two of uint8 goes up; of int8 it goes away from zero.
      if (node.op == Op::kAveragePool && state_.is_unsigned(output)) node.rounding = Rounding::kSingle;
      if (moves && from.type != DataType::kFloat32) {
        for (ValueId id : node.inputs) {
          const Value& other = graph.value(id);
          if (other.quantization.scales == from.quantization.scales &&
              other.quantization.zero_points == from.quantization.zero_points) {
            continue;
          }
          return unsupported("input '" + other.name + "': expected the scale and zero point of '" + from.name +
                             "', which the operator only moves");
        }
      }
    }
    for (const int32_t index : *op.outputs()) {
      const TfliteValue& value = state_.values[static_cast<size_t>(index)];
      if (value.kind != TfliteValue::Kind::kActivation) continue;
      const Value& made = graph.value(value.id);
      const DataType expected = data_type(state_.tensor(index)->type());
      const Quantization q = quantization_of(*state_.tensor(index));
      const bool same = expected == DataType::kFloat32 ||
                        (made.quantization.scales == q.scales && made.quantization.zero_points == q.zero_points);
      if (made.type != expected || !same) {
        return unsupported(
            "output '" + state_.tensor_name(index) +
            "': expected the input's type, scale and zero point, as for an operator that only moves numbers");
      }
    }
    return {};
  }

  bool has_integers(const Node& node) const {
    const auto integer = [&](ValueId id) {
      return id != kNoValue && state_.writer.graph.value(id).type != DataType::kFloat32;
    };
    return std::any_of(node.inputs.begin(), node.inputs.end(), integer) ||
           std::any_of(node.outputs.begin(), node.outputs.end(), integer);
  }

  void import_operator(const tflite::Operator& op) {
    const std::string name = op_name(op);
    TfliteContext context(&state_, &op, name);
    const std::string subject = name + " '" + context.name() + "'";
    for (const int32_t index : *op.outputs()) {
      if (state_.values[static_cast<size_t>(index)].kind != TfliteValue::Kind::kUnknown) {
        problem(subject, "output '" + state_.tensor_name(index) + "' is a constant, an input or made twice");
        return;
      }
    }
    const int32_t output = context.output_index(0);
    if (is_shape_arithmetic(builtin(op)) && is_integer(state_.tensor(output)->type())) {
      state_.values[static_cast<size_t>(output)].kind = TfliteValue::Kind::kShapeArithmetic;
      return;
    }
    const size_t first_node = state_.writer.graph.nodes.size();
    Status status = within_budget(subject, [&] { return run_importer(context, op); });
    if (status.ok()) status = check_shapes(op);
    if (status.ok()) status = set_types(op, first_node);
    if (!status.ok() && !context.skipped()) problem(subject, status.message());
    if (!status.ok()) assume_outputs(op);
  }

  Status run_importer(TfliteContext& context, const tflite::Operator& op) {
    const BuiltinOperator code = builtin(op);
    const int32_t input = context.input_index(0);
    const bool constant = input >= 0 && state_.values[static_cast<size_t>(input)].kind == TfliteValue::Kind::kConstant;
    if (code == BuiltinOperator::DEQUANTIZE && constant) return import_dequantize(context);
    TfliteImporter importer = find_tflite_compute_op(code);
    if (!importer) importer = find_tflite_shape_op(code);
    if (!importer) return unsupported("this operator is not supported");
    return importer(context);
  }

  // Weights stored as float16 are widened where they are read.
  Status import_dequantize(TfliteContext& context) {
    const int32_t index = context.input_index(0);
    if (state_.tensor(index)->type() != TensorType::FLOAT16) {
      return unsupported(std::string("a constant of ") + type_name(state_.tensor(index)->type()) +
                         ": expected FLOAT16");
    }
    context.set_output(0, state_.values[static_cast<size_t>(index)]);
    report_.note("tensor '" + printable(state_.tensor_name(index)) + "' converted from float16 to float32");
    return {};
  }

  // The file states every tensor's shape: a difference means that something was misread.
  Status check_shapes(const tflite::Operator& op) const {
    for (const int32_t index : *op.outputs()) {
      const TfliteValue& value = state_.values[static_cast<size_t>(index)];
      const Shape declared = state_.tensor_shape(index);
      if (value.kind != TfliteValue::Kind::kActivation || declared.empty()) continue;
      Shape ours = state_.writer.shape(value.id);
      if (value.layout == Layout::kChannelsFirst) ours = {ours[0], ours[2], ours[3], ours[1]};
      if (ours.size() != declared.size() || !std::equal(ours.begin() + 1, ours.end(), declared.begin() + 1)) {
        return invalid_model("expected output " + to_string(declared) + " as the file says, computed " +
                             to_string(ours));
      }
    }
    return {};
  }

  void assume_outputs(const tflite::Operator& op) {
    for (const int32_t index : *op.outputs()) {
      TfliteValue& value = state_.values[static_cast<size_t>(index)];
      const Shape shape = state_.tensor_shape(index);
      value = TfliteValue{};
      const TensorType type = state_.tensor(index)->type();
      if (type != TensorType::FLOAT32 && !is_byte(type)) continue;
      if (!shape.empty() && shape.size() <= 8 && element_count(shape) > 0) assign_file_shape(index, shape);
    }
  }

  void set_outputs() {
    for (const int32_t index : *state_.graph->outputs()) {
      const std::string subject = "output '" + state_.tensor_name(index) + "'";
      const TfliteValue& value = state_.values[static_cast<size_t>(index)];
      if (value.kind == TfliteValue::Kind::kActivation) {
        if (value.layout == Layout::kFlat) {
          problem(subject, "a flattened image as the network's output is not supported");
          continue;
        }
        const Status status = state_.writer.output(value.id, state_.tensor_name(index));
        if (!status.ok()) problem(subject, status.message());
        if (state_.is_unsigned(index)) {
          report_.note(subject + ": uint8 in the file, in the model int8, the same integers and zero point less 128");
        }
      } else if (report_.problems.empty()) {
        problem(subject, "it is no float tensor that an operator makes");
      }
    }
  }

  void finish() {
    for (TensorRecord& record : report_.tensors) {
      if (record.how.empty()) record.how = "not read";
    }
    Graph& graph = state_.writer.graph;
    if (!report_.problems.empty()) return list_refused_nodes(graph, &report_);
    const Status status = finish_graph(&graph);
    if (!status.ok()) problem("", status.message());
    if (status.ok() && batch_ > 1) {
      Graph single = graph;
      if (single.set_batch(1).ok()) {
        graph = std::move(single);
      } else {
        report_.note("the network works for a batch of " + std::to_string(batch_) + " alone");
      }
    }
  }

  Report& report_;
  const size_t file_size_;
  TfliteState state_;
  int64_t batch_ = 1;
  MemoryCharge charge_;  // for what the report says about tensors
};

}  // namespace

Graph import_tflite(const uint8_t* data, size_t size, Report* report) {
  report->format = "TensorFlow Lite";
  const UseBudget budget = UseBudget::keep_or_make(size);
  constexpr flatbuffers::uoffset_t kMaxDepth = 32, kMaxTables = 1u << 20;
  flatbuffers::Verifier verifier(data, size, kMaxDepth, kMaxTables);
  const bool too_large = size >= FLATBUFFERS_MAX_BUFFER_SIZE;
  if (size < 8 || too_large || !tflite::ModelBufferHasIdentifier(data) || !tflite::VerifyModelBuffer(verifier)) {
    report->problem("", "not a TensorFlow Lite file, or a damaged one (the FlatBuffer does not verify)");
    return {};
  }
  const tflite::Model* model = tflite::GetModel(data);
  if (model->description()) report->producer = printable(model->description()->str());
  try {
    return TfliteModelImporter(model, size, report).run();
  } catch (const OutOfBudget& error) {
    report->problem(error.subject, error.reason);
    return {};
  }
}

}  // namespace sparsenet::converter

// What the importers of TensorFlow Lite operators work with.
//
// Layout. TensorFlow Lite stores images as [N, H, W, C], the graph as [N, C, H, W]. Every value of rank 4 is therefore
// transposed on import, but only logically: axes of operators are mapped and weights reordered, and no data moves. If
// the elements of a flattened image are read one by one, the order matters; see Layout::kFlat.
#pragma once

#include <tflite_generated.h>

#include <string>
#include <unordered_map>
#include <vector>

#include "converter/graph_writer.h"
#include "converter/host_tensor.h"
#include "converter/report.h"

namespace sparsenet::converter {

// "FLOAT32", as the schema writes it.
std::string type_name(tflite::TensorType type);

enum class Layout : uint8_t {
  kPlain,          // axes as in the file
  kChannelsFirst,  // rank 4: [N, C, H, W] here, [N, H, W, C] in the file
  kFlat  // rank 2: [N, C H W] here, [N, H W C] in the file; a fully connected layer reorders its weights instead
};

struct TfliteValue {
  enum class Kind : uint8_t { kUnknown, kActivation, kConstant, kShapeArithmetic };
  Kind kind = Kind::kUnknown;
  ValueId id = kNoValue;
  Layout layout = Layout::kPlain;
  int64_t channels = 0, height = 0, width = 0;  // kFlat
  int32_t tensor = -1;                          // kConstant: the tensor that has the data
};

struct TfliteState {
  GraphWriter writer;
  Report* report = nullptr;
  const tflite::Model* model = nullptr;
  const tflite::SubGraph* graph = nullptr;
  std::vector<TfliteValue> values;                       // one per tensor
  std::vector<size_t> records;                           // one per tensor: index in report->tensors, or SIZE_MAX
  std::unordered_map<ValueId, ValueId> unsigned_inputs;  // of int8: the input of uint8 that they are made of

  const tflite::Tensor* tensor(int32_t index) const {
    return graph->tensors()->Get(static_cast<flatbuffers::uoffset_t>(index));
  }
  std::string tensor_name(int32_t index) const;
  Shape tensor_shape(int32_t index) const;
  bool is_unsigned(int32_t index) const { return tensor(index)->type() == tflite::TensorType::UINT8; }
  // The data of a constant tensor, or null.
  const flatbuffers::Vector<uint8_t>* data(int32_t index) const;
};

class TfliteContext {
 public:
  TfliteContext(TfliteState* state, const tflite::Operator* op, std::string op_name);

  GraphWriter& writer() { return state_.writer; }
  const tflite::Operator& op() const { return op_; }
  const std::string& op_name() const { return op_name_; }
  // The name of the first output's tensor: operators have no names of their own.
  const std::string& name() const { return name_; }

  size_t input_count() const { return op_.inputs() ? op_.inputs()->size() : 0; }
  size_t output_count() const { return op_.outputs() ? op_.outputs()->size() : 0; }
  int32_t input_index(size_t i) const;  // -1: absent
  int32_t output_index(size_t i) const;
  std::string output_name(size_t i) const;
  Shape output_shape(size_t i) const { return state_.tensor_shape(output_index(i)); }

  // Inputs. An unknown one ends the import of this operator silently: skipped().
  Result<TfliteValue> activation(size_t i);
  // The same, but Layout::kFlat is brought into the file's order by an explicit transpose.
  Result<TfliteValue> ordered(size_t i);
  Result<HostTensor> floats(size_t i, const char* what);
  // The same for weights and biases, which are integers where the operator's input is int8. Integers of weights that
  // are stored for an operator on floats are converted to the numbers that they stand for.
  Result<HostTensor> parameter(size_t i, const char* what);
  // A constant of one number, or of the integer that stands for it beside an input of int8.
  Result<float> number(size_t i, const char* what);
  bool is_int8(size_t i) const;  // the tensor of an input, if there is one; also one of uint8, which becomes int8
  Quantization quantization(size_t i) const;  // of the tensor of an input
  // The input of uint8 that an input of the operator is, before it becomes int8; else that input.
  ValueId before_int8(ValueId id) const {
    const auto found = state_.unsigned_inputs.find(id);
    return found == state_.unsigned_inputs.end() ? id : found->second;
  }
  Result<std::vector<int64_t>> ints(size_t i, const char* what);
  bool skipped() const { return skipped_; }

  // Puts a constant into the graph, with a record of what was done to it.
  ValueId add_constant(size_t input, HostTensor tensor, const std::string& how);
  // The input and the weight of a layer. Weights of int8 whose zero point is not 0 become integers less that; where
  // these go beyond int8, a second copy of the input's channels is there for the rest. `groups`: of a convolution.
  Result<std::vector<ValueId>> layer_inputs(ValueId x, HostTensor weight, int64_t groups, const std::string& how);
  // An input of an elementwise operator, as a graph value whose shape broadcasts against `rank` axes in the graph's
  // order.
  Result<ValueId> operand(size_t i, size_t rank);

  void set_output(size_t i, ValueId id, Layout layout);
  void set_output(size_t i, const TfliteValue& value);
  // Adds a node, followed by the fused activation, as output 0.
  Status emit(Op op, std::vector<ValueId> inputs, Attrs attrs, tflite::ActivationFunctionType activation,
              Layout layout);
  Status emit(Op op, std::vector<ValueId> inputs, Attrs attrs, Layout layout) {
    return emit(op, std::move(inputs), std::move(attrs), tflite::ActivationFunctionType::NONE, layout);
  }

  // Maps an axis of the file to an axis of the graph, for a value of that rank. Negative axes count from the end.
  Result<int32_t> map_axis(int64_t axis, size_t rank) const;

  // Reshapes a value to the file's shape `target`, which has as many elements.
  Status reshape(const TfliteValue& x, const Shape& target);

 private:
  Result<ValueId> in_file_order(const TfliteValue& x);
  Result<HostTensor> constant(size_t i, const char* what);  // floats or integers, as the file has them

  TfliteState& state_;
  const tflite::Operator& op_;
  std::string op_name_, name_;
  bool skipped_ = false;
};

using TfliteImporter = Status (*)(TfliteContext&);
TfliteImporter find_tflite_compute_op(tflite::BuiltinOperator op);  // convolutions, pooling, FC, elementwise
TfliteImporter find_tflite_shape_op(tflite::BuiltinOperator op);    // operators that only move data

Status check_activation(tflite::ActivationFunctionType activation);

}  // namespace sparsenet::converter

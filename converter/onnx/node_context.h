// What an operator's importer works with: the node's attributes and inputs, and where its outputs go.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "converter/graph_writer.h"
#include "converter/integer_graph.h"
#include "converter/onnx/decode_tensor.h"
#include "converter/report.h"

namespace sparsenet::converter {

using HostTensorPtr = std::shared_ptr<const HostTensor>;

// A name of the ONNX graph: an activation in our graph, a constant (added to our graph only once a node needs it
// there), or a value that is unknown because of an earlier problem.
struct OnnxValue {
  ValueId id = kNoValue;
  HostTensorPtr constant;
  bool from_input = false;  // of an unknown value: it depends on the network's input, so it is not a constant
  bool is_integer = false;  // of an activation: the file holds it in an integer type, in the graph it is float32
  // Of an activation: it is quantised, and int8 in the graph. What is uint8 in the file is 128 less there, and so is
  // its zero point.
  bool is_quantized = false;
  enum class Bytes : uint8_t {
    kNone,
    kInt8,
    kUInt8
  } bytes = Bytes::kNone;  // its type in the file, if it is one of these
  bool unknown() const { return id == kNoValue && !constant; }
};

struct OnnxState {
  GraphWriter writer;
  IntegerConstants integers;  // constants of the graph that the file stores as quantised integers
  Report* report = nullptr;
  int64_t opset = 0;
  int64_t batch = 0;           // of all inputs; 0: there are none yet
  bool batch_is_free = false;  // an input leaves it open
  std::string folder;
  bool half_network = false;  // a graph input is float16, so all of the graph is meant in float16; this has been noted
  std::unordered_map<std::string, OnnxValue> values;
  std::unordered_map<std::string, Shape> declared_shapes;  // of value_info entries whose sizes are all known
  std::unordered_map<std::string, size_t> records;         // initializer -> index in report->tensors
  std::unordered_map<std::string, size_t> uses;            // how many nodes and outputs read a name
  std::unordered_map<std::string, size_t> quantized_uses;  // of these, as quantised integers
  uint64_t initializer_elements = 0;                       // of all initializers together
  uint64_t folded_elements = 0;                            // read so far to evaluate nodes during the import

  void record_use(const HostTensor& tensor, const std::string& target, const std::string& how);
};

class NodeContext {
 public:
  NodeContext(OnnxState* state, onnx_ns::NodeProto* proto) : state_(*state), proto_(*proto) {}

  const std::string& op() const { return proto_.op_type(); }
  // The node's name or, if it has none, that of its first output.
  const std::string& name() const;
  int64_t opset() const { return state_.opset; }
  GraphWriter& writer() { return state_.writer; }
  OnnxState& state() { return state_; }
  const OnnxState& state() const { return state_; }

  // Attributes with their defaults. An attribute of the wrong type makes the node a problem (attribute_status()).
  bool has_attribute(const char* key) const;
  int64_t int_attribute(const char* key, int64_t fallback);
  float float_attribute(const char* key, float fallback);
  std::string string_attribute(const char* key, const char* fallback);
  std::vector<int64_t> ints_attribute(const char* key, std::vector<int64_t> fallback = {});
  const onnx_ns::AttributeProto* attribute(const char* key) const;
  // The tensor of an attribute, moved out of the message: call this only once.
  Result<HostTensor> take_tensor_attribute(const char* key);
  const Status& attribute_status() const { return attribute_status_; }

  // Inputs. has_input() is false for an omitted one.
  size_t input_count() const { return static_cast<size_t>(proto_.input_size()); }
  bool has_input(size_t i) const;
  const std::string& input_name(size_t i) const { return proto_.input(static_cast<int>(i)); }  // i < input_count()
  const OnnxValue* input(size_t i) const;                                                      // null if absent
  bool all_inputs_constant() const;
  // The input as a value of our graph; a float constant is added to the graph. Scalars become [1]. An unknown value
  // ends the import of this node silently: skipped().
  Result<ValueId> value(size_t i);
  // A float constant, or an error saying that the input must be one.
  Result<HostTensorPtr> constant(size_t i, const char* what);
  Result<std::vector<int64_t>> ints(size_t i, const char* what);
  Result<float> scalar(size_t i, const char* what);
  bool skipped() const { return skipped_; }
  void skip() { skipped_ = true; }

  // The failure of a node that would mix the images of a batch. Where the file has a batch of several images and of no
  // other number, the node is imported again after pin_batch(), and then finds no batch in its inputs.
  Status mixes_batch(std::string message);
  bool may_pin_batch() const { return mixes_batch_ && !state_.batch_is_free && state_.batch > 1; }
  Status pin_batch();

  // Puts a constant into the graph, named after its source.
  ValueId add_constant(const HostTensor& tensor, Shape shape, const Elements<float>& values, const std::string& how);

  size_t output_count() const { return static_cast<size_t>(proto_.output_size()); }
  bool output_is_used(size_t i) const;
  bool has_output(size_t i) const { return i < output_count() && !output_name(i).empty(); }
  const std::string& output_name(size_t i) const;  // empty if there is none
  void set_output(size_t i, ValueId id);
  void set_output(size_t i, HostTensor tensor);
  void alias_output(size_t i, size_t input_index);

  // Adds a node with one output, which becomes output 0.
  Status emit(Op op, std::vector<ValueId> inputs, Attrs attrs = NoAttrs{});
  // Adds an op without attributes on the first input.
  Status emit_unary(Op op, Attrs attrs = NoAttrs{});
  // Makes output 0 the first input in another shape.
  Status emit_reshape(const Shape& target);

 private:
  Status wrong_type(const char* key, const char* expected);

  OnnxState& state_;
  onnx_ns::NodeProto& proto_;
  Status attribute_status_;
  bool skipped_ = false;
  bool mixes_batch_ = false;
};

using NodeImporter = Status (*)(NodeContext&);

// -1 .. -rank count from the end, as everywhere in ONNX.
Result<int32_t> normalize_axis(int64_t axis, size_t rank);
Result<std::vector<int32_t>> normalize_axes(const std::vector<int64_t>& axes, size_t rank);  // sorted, unique

// The importers by family of operators; null if the family does not have the op.
NodeImporter find_weight_op(const std::string& op);     // Conv, Gemm, MatMul, BatchNormalization
NodeImporter find_pointwise_op(const std::string& op);  // activations, arithmetic
NodeImporter find_pool_op(const std::string& op);       // pooling, reductions
NodeImporter find_shape_op(const std::string& op);      // Reshape, Concat, Slice, ...
// Makes a node of opset 6 mean the same as in opset 7. Does nothing for later opsets.
Status apply_old_opset(NodeContext& context, onnx_ns::NodeProto* node);

// Those that are written as several nodes; the families above ask for them.
NodeImporter find_function_op(const std::string& op);   // Exp, Log, Pow, Max, Where, ...
NodeImporter find_matrix_op(const std::string& op);     // MatMul, Gemm
NodeImporter find_normalize_op(const std::string& op);  // LayerNormalization, LRN, ...
NodeImporter find_reduce_op(const std::string& op);     // ReduceSum, ReduceMax, LogSoftmax, ...
NodeImporter find_extremum_op(const std::string& op);   // ArgMax, TopK, Hardmax
NodeImporter find_index_op(const std::string& op);      // Gather, Expand, Pad, DepthToSpace, ...
Status import_einsum(NodeContext& context);
// AveragePool and MaxPool over more than two dimensions or, along a dimension, with gaps in the window.
Status import_pool_by_axes(NodeContext& context);
NodeImporter find_resize_op(const std::string& op);           // Resize, Upsample
NodeImporter find_transposed_conv_op(const std::string& op);  // ConvTranspose
NodeImporter find_quantize_op(const std::string& op);         // QuantizeLinear, DequantizeLinear

// Evaluates Constant, Shape, and nodes all of whose inputs are constants. False if this op is none of these.
bool fold_constants(NodeContext& context, Status* status);

// Nodes that read activations of an integer type (bytes of an image): a cast to floats ends that, operators that move
// data keep it, all others are refused. True if nothing is left to do; if false, an importer must be called, after
// which keep_integers marks the outputs.
bool import_integers(NodeContext& context, Status* status);
void keep_integers(NodeContext& context);

}  // namespace sparsenet::converter

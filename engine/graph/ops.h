// The table of operations: for each op its name, its arity, the attributes it takes and its shape rule. To add an op,
// add a number to graph.h, a shape rule to one of the ops_*.cpp files and a row to ops.cpp; for an activation see
// activations.h.
#pragma once

#include <sparsenet/graph.h>

#include <type_traits>

namespace sparsenet {

// What a shape rule sees of a node, and what it fills in.
struct ShapeContext {
  const Graph& graph;
  const Node& node;
  std::vector<Shape> outputs;  // one per output, filled by the rule

  size_t input_count() const { return node.inputs.size(); }
  bool has_input(size_t i) const { return i < node.inputs.size() && node.inputs[i] != kNoValue; }
  const Shape& input(size_t i) const { return graph.shape(node.inputs[i]); }
  // A failure that reads "expected ..., found ..."; the caller adds the node's op and name.
  static Status mismatch(const std::string& what, const std::string& expected, const std::string& found) {
    return invalid_model(what + ": expected " + expected + ", found " + found);
  }
};

struct OpDefinition {
  Op op;
  const char* name;
  size_t min_inputs, max_inputs;  // max counts absent optional inputs
  size_t required;                // the first `required` inputs may not be absent
  size_t min_outputs, max_outputs;
  size_t attrs_index;  // index of the Attrs alternative this op takes
  bool storable;       // may occur in a file
  Status (*infer)(ShapeContext&);
};

const OpDefinition* find_op(Op op);  // null for an unknown number

template <class T, size_t I = 0>
constexpr size_t attrs_index() {
  if constexpr (std::is_same_v<T, std::variant_alternative_t<I, Attrs>>) {
    return I;
  } else {
    return attrs_index<T, I + 1>();
  }
}

// Refuses an activation of an unknown kind, or with parameters that are not finite or not in order.
Status check_activation(const Activation& activation);

// Shape rules, by family.
Status infer_conv(ShapeContext&);
Status infer_fully_connected(ShapeContext&);
Status infer_batch_norm(ShapeContext&);
Status infer_affine(ShapeContext&);
Status infer_scale(ShapeContext&);
Status infer_attention(ShapeContext&);
Status infer_unary(ShapeContext&);
Status infer_activation(ShapeContext&);  // also checks the attributes
Status infer_softmax(ShapeContext&);
Status infer_binary(ShapeContext&);
Status infer_mat_mul(ShapeContext&);
Status infer_layer_norm(ShapeContext&);
Status infer_pool(ShapeContext&);
Status infer_global_average_pool(ShapeContext&);
Status infer_reduce_mean(ShapeContext&);
Status infer_concat(ShapeContext&);
Status infer_split(ShapeContext&);
Status infer_slice(ShapeContext&);
Status infer_pad(ShapeContext&);
Status infer_reshape(ShapeContext&);
Status infer_transpose(ShapeContext&);
Status infer_train(ShapeContext&);  // all training ops

// Infers the output shapes of one node into `outputs`; the message names op and node.
Status infer_node(const Graph& graph, const Node& node, std::vector<Shape>* outputs);

// "Conv 'block0.layers.1.conv0'"
std::string describe(const Node& node);

// Multiply-accumulates of a node for the batch size that its shapes have; 0 for all but Conv,
// FullyConnected and MatMul.
int64_t node_macs(const Graph& graph, const Node& node);

}  // namespace sparsenet

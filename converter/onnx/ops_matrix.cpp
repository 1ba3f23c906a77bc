// ONNX matrix products: with a constant matrix on the right they are fully connected layers, on inputs of any rank;
// others have an op of their own.
#include <algorithm>

#include "converter/onnx/compose.h"

namespace sparsenet::converter {
namespace {

bool is_constant(NodeContext& c, size_t i) {
  const OnnxValue* x = c.input(i);
  return x && x->constant;
}

// Quantised weights keep their integers.
void scale_by(float factor, HostTensor* matrix) {
  const IntegerWeights* before = factor > 0.f ? matrix->integer_weights() : nullptr;
  const auto weights = before ? std::make_shared<IntegerWeights>(*before) : nullptr;
  for (float& element : matrix->floats) element *= factor;
  if (!weights) return;
  for (float& scale : weights->scales) scale *= factor;
  weights->floats = matrix->floats;
  matrix->weights = weights;
}

// A weight [O, I], with each element times `scale`, from a matrix [O, I] or, if is_input_by_output, [I, O].
Result<ValueId> matrix_constant(NodeContext& c, size_t i, bool is_input_by_output, float scale) {
  SPARSENET_ASSIGN_OR_RETURN(HostTensorPtr tensor, c.constant(i, "right operand"));
  if (tensor->shape.size() != 2 || tensor->size() == 0) {
    return unsupported("right operand: expected a matrix, found " + to_string(tensor->shape));
  }
  if (!is_input_by_output && scale == 1.f) return c.value(i);
  HostTensor matrix = is_input_by_output ? transposed(*tensor, {1, 0}) : *tensor;
  if (scale != 1.f) scale_by(scale, &matrix);
  const char* how = is_input_by_output ? (scale == 1.f ? "transposed" : "transposed and scaled") : "scaled";
  return c.add_constant(matrix, matrix.shape, matrix.floats, how);
}

// The general form: alpha A' B' + beta C of computed operands.
Status import_computed_gemm(NodeContext& c, bool trans_a, bool trans_b) {
  Compose g(c);
  ValueId a = g.input(0), b = g.input(1);
  if (g.ok() && (g.shape(a).size() != 2 || g.shape(b).size() != 2)) {
    return unsupported("operands: expected matrices, found " + to_string(g.shape(a)) + " and " + to_string(g.shape(b)));
  }
  if (trans_a) a = g.transpose(a, {1, 0});
  if (trans_b) b = g.transpose(b, {1, 0});
  ValueId y = g.scaled(g.node(Op::kMatMul, {a, b}), c.float_attribute("alpha", 1.f));
  if (c.has_input(2)) y = g.node(Op::kAdd, {y, g.scaled(g.input(2), c.float_attribute("beta", 1.f))});
  return g.finish(y);
}

Status import_gemm(NodeContext& c) {
  const bool trans_a = c.int_attribute("transA", 0) != 0, trans_b = c.int_attribute("transB", 0) != 0;
  const float alpha = c.float_attribute("alpha", 1.f);
  const float beta = c.float_attribute("beta", 1.f);
  if (trans_a || !is_constant(c, 1)) return import_computed_gemm(c, trans_a, trans_b);
  SPARSENET_ASSIGN_OR_RETURN(ValueId weight, matrix_constant(c, 1, !trans_b, alpha));
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  const int64_t outputs = c.writer().shape(weight)[0];
  if (!c.has_input(2)) return c.emit(Op::kFullyConnected, {x, weight}, FullyConnectedAttrs{});

  const OnnxValue* bias = c.input(2);
  if (bias && bias->constant && bias->constant->is_float()) {
    const HostTensor& tensor = *bias->constant;
    const bool one = tensor.size() == 1;
    const bool per_output =
        tensor.size() == static_cast<size_t>(outputs) && !tensor.shape.empty() && tensor.shape.back() == outputs;
    if (one || per_output) {
      if (tensor.shape == Shape{outputs} && beta == 1.f) {
        SPARSENET_ASSIGN_OR_RETURN(ValueId id, c.value(2));
        return c.emit(Op::kFullyConnected, {x, weight, id}, FullyConnectedAttrs{});
      }
      std::vector<float> values(static_cast<size_t>(outputs));
      for (size_t i = 0; i < values.size(); ++i) values[i] = beta * tensor.floats[one ? 0 : i];
      const ValueId id = c.add_constant(tensor, {outputs}, std::move(values), beta == 1.f ? "spread" : "scaled");
      return c.emit(Op::kFullyConnected, {x, weight, id}, FullyConnectedAttrs{});
    }
  }
  Compose g(c);
  const ValueId product = g.node(Op::kFullyConnected, {x, weight}, FullyConnectedAttrs{});
  return g.finish(g.node(Op::kAdd, {product, g.scaled(g.input(2), beta)}));
}

// x of rank 2 or more times a constant matrix. Where x has been transposed to [N, H, W, C], that is a 1x1 convolution
// before the transpose; else all rows become one matrix.
Status import_linear(NodeContext& c) {
  SPARSENET_ASSIGN_OR_RETURN(ValueId weight, matrix_constant(c, 1, true, 1.f));
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  Compose g(c);
  const Shape shape = g.shape(x), matrix = g.shape(weight);
  if (shape.size() == 2) return c.emit(Op::kFullyConnected, {x, weight}, FullyConnectedAttrs{});
  if (shape.size() < 2 || shape.back() != matrix[1]) {
    return invalid_model("left operand: expected " + std::to_string(matrix[1]) + " columns, found " + to_string(shape));
  }
  if (const Node* before = c.writer().maker(x); is_channels_last(before)) {
    const ValueId image = before->inputs[0];
    Tensor kernel = c.writer().graph.value(weight).constant;
    kernel.shape = {matrix[0], matrix[1], 1, 1};
    const std::string own = c.writer().graph.value(weight).name;
    const auto integers = c.state().integers.find(own);
    const ValueId filter = c.writer().constant(own, std::move(kernel));
    if (integers != c.state().integers.end()) {
      const IntegerWeights weights = integers->second;
      c.state().integers[c.writer().graph.value(filter).name] = weights;
    }
    return g.finish(g.transpose(g.node(Op::kConv, {image, filter}, ConvAttrs{}), kChannelsLast));
  }
  const ValueId y =
      g.node(Op::kFullyConnected, {g.reshape(x, {element_count(shape) / shape.back(), shape.back()}), weight},
             FullyConnectedAttrs{});
  Shape target = shape;
  target.back() = matrix[0];
  return g.finish(g.reshape(y, target));
}

Status import_matmul(NodeContext& c) {
  const OnnxValue *a = c.input(0), *b = c.input(1);
  const bool computed_left = a && (a->id != kNoValue || a->unknown()) && !a->constant;
  if (computed_left && b && b->constant && b->constant->shape.size() == 2) return import_linear(c);
  Compose g(c);
  ValueId left = g.input(0), right = g.input(1);
  // A vector is a matrix of one row or column, which is dropped from the result.
  const Shape left_shape = g.shape(left), right_shape = g.shape(right);
  const bool row = left_shape.size() == 1, column = right_shape.size() == 1;
  if (row) left = g.reshape(left, {1, left_shape[0]});
  if (column) right = g.reshape(right, {right_shape[0], 1});
  const ValueId y = g.node(Op::kMatMul, {left, right});
  Shape target = g.shape(y);
  if (g.ok() && column) target.pop_back();
  if (g.ok() && row) target.erase(target.end() - (column ? 1 : 2));
  if (target.empty()) target = {1};  // a scalar
  return g.finish(g.reshape(y, target));
}

}  // namespace

NodeImporter find_matrix_op(const std::string& op) {
  if (op == "Gemm") return import_gemm;
  if (op == "MatMul") return import_matmul;
  if (op == "Einsum") return import_einsum;
  return nullptr;
}

}  // namespace sparsenet::converter

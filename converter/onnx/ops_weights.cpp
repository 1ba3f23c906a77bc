// ONNX operators with weights: Conv, BatchNormalization, Gemm, MatMul.
#include <algorithm>
#include <cstring>

#include "converter/onnx/node_context.h"
#include "converter/onnx/window.h"

namespace sparsenet::converter {
namespace {

Result<HostTensorPtr> vector_tensor(NodeContext& c, size_t i, const char* what, int64_t size) {
  Result<HostTensorPtr> tensor = c.constant(i, what);
  if (tensor.ok() && (*tensor)->shape != Shape{size}) {
    return invalid_model(std::string(what) + ": expected " + to_string(Shape{size}) + ", found " +
                         to_string((*tensor)->shape));
  }
  return tensor;
}

Result<ValueId> vector_constant(NodeContext& c, size_t i, const char* what, int64_t size) {
  SPARSENET_ASSIGN_OR_RETURN(HostTensorPtr tensor, vector_tensor(c, i, what, size));
  return c.value(i);
}

Status import_conv(NodeContext& c) {
  Result<HostTensorPtr> weight = c.constant(1, "weight");
  if (!weight.ok()) return weight.status();
  const Shape& w = (*weight)->shape;
  if (w.size() != 4) {
    return unsupported("expected a two-dimensional convolution (weight of rank 4), found weight " + to_string(w));
  }
  ConvAttrs attrs;
  Window window;
  SPARSENET_RETURN_IF_ERROR(window.read(c, {w[2], w[3]}));
  const int64_t groups = c.int_attribute("group", 1);
  if (groups < 1 || groups > w[0])
    return invalid_model("group: expected 1 to " + std::to_string(w[0]) + ", found " + std::to_string(groups));
  attrs.groups = static_cast<int32_t>(groups);
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  SPARSENET_RETURN_IF_ERROR(window.resolve(c.writer().shape(x)));
  attrs.kernel = window.kernel;
  attrs.stride = window.stride;
  attrs.dilation = window.dilation;
  attrs.pads = window.pads;
  SPARSENET_ASSIGN_OR_RETURN(ValueId weight_value, c.value(1));
  std::vector<ValueId> inputs{x, weight_value};
  if (c.has_input(2)) {
    SPARSENET_ASSIGN_OR_RETURN(ValueId bias, vector_constant(c, 2, "bias", w[0]));
    inputs.push_back(bias);
  }
  return c.emit(Op::kConv, std::move(inputs), attrs);
}

// Checks that the node does not normalise with the statistics of its batch. Before opset 14 only the number of outputs
// tells.
Status check_inference(NodeContext& c) {
  constexpr const char* kWayOut = ": export the network in evaluation mode";
  if (c.int_attribute("training_mode", 0) != 0) return unsupported(std::string("training_mode 1") + kWayOut);
  for (size_t i = 1; i < c.output_count(); ++i) {
    if (c.opset() < 14 && c.has_output(i)) {
      return unsupported("it has " + std::to_string(c.output_count()) +
                         " outputs, which before opset 14 means training mode" + kWayOut);
    }
    if (c.output_is_used(i)) return unsupported("output " + std::to_string(i) + " (statistics of training) is used");
  }
  return {};
}

Status import_batch_normalization(NodeContext& c) {
  SPARSENET_RETURN_IF_ERROR(check_inference(c));
  if (c.int_attribute("spatial", 1) != 1) return unsupported("spatial 0: expected statistics per channel");
  BatchNormAttrs attrs;
  attrs.epsilon = c.float_attribute("epsilon", 1e-5f);
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  const Shape shape = c.writer().shape(x);
  if (shape.size() < 2) return unsupported("input: expected rank 2 or more, found " + to_string(shape));
  std::vector<ValueId> parameters;
  static const char* const kNames[] = {"", "scale", "bias", "mean", "variance"};
  for (size_t i = 1; i <= 4; ++i) {
    SPARSENET_ASSIGN_OR_RETURN(HostTensorPtr tensor, vector_tensor(c, i, kNames[i], shape[1]));
    // Never shared: tools store equal tensors once (all ones, all zeros), which training moves apart.
    const HostTensor& t = *tensor;
    parameters.push_back(c.add_constant(t, t.shape, t.floats, t.change.empty() ? "initializer" : t.change));
  }
  const auto inputs = [&parameters](ValueId image) {
    std::vector<ValueId> all{image};
    all.insert(all.end(), parameters.begin(), parameters.end());
    return all;
  };
  if (shape.size() == 2 || shape.size() == 4) return c.emit(Op::kBatchNorm, inputs(x), attrs);
  // Signals [N, C, L] and volumes [N, C, D, H, W]: what lies behind the channels is one column of pixels.
  const Shape column{shape[0], shape[1], element_count(shape) / (shape[0] * shape[1]), 1};
  SPARSENET_ASSIGN_OR_RETURN(ValueId image, c.writer().reshape(c.name() + ".column", x, column));
  SPARSENET_ASSIGN_OR_RETURN(ValueId y,
                             c.writer().node(Op::kBatchNorm, c.name(), inputs(image), attrs, c.name() + ".normalized"));
  SPARSENET_ASSIGN_OR_RETURN(ValueId back, c.writer().reshape(c.name() + ".restore", y, shape, c.output_name(0)));
  c.set_output(0, back);
  return {};
}

// A weight [O, I], with each element times `scale`, from a matrix [O, I] or, if is_input_by_output, [I, O].
Result<ValueId> matrix_constant(NodeContext& c, size_t i, bool is_input_by_output, float scale) {
  SPARSENET_ASSIGN_OR_RETURN(HostTensorPtr tensor, c.constant(i, "right operand"));
  if (tensor->shape.size() != 2 || tensor->size() == 0) {
    return unsupported("right operand: expected a matrix, found " + to_string(tensor->shape));
  }
  if (!is_input_by_output && scale == 1.f) return c.value(i);
  HostTensor matrix = is_input_by_output ? transposed(*tensor, {1, 0}) : *tensor;
  for (float& element : matrix.floats) element *= scale;
  const char* how = is_input_by_output ? (scale == 1.f ? "transposed" : "transposed and scaled") : "scaled";
  return c.add_constant(*tensor, matrix.shape, std::move(matrix.floats), how);
}

Status import_gemm(NodeContext& c) {
  if (c.int_attribute("transA", 0) != 0) return unsupported("transA 1: expected the activations as they are");
  const float alpha = c.float_attribute("alpha", 1.f);
  const float beta = c.float_attribute("beta", 1.f);
  const bool trans_b = c.int_attribute("transB", 0) != 0;
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
  if (beta != 1.f)
    return unsupported("beta " + std::to_string(beta) + " with a C that is no constant [" + std::to_string(outputs) +
                       "]");
  SPARSENET_ASSIGN_OR_RETURN(ValueId added, c.value(2));
  Result<ValueId> product =
      c.writer().node(Op::kFullyConnected, c.name(), {x, weight}, FullyConnectedAttrs{}, c.name() + ".product");
  if (!product.ok()) return product.status();
  return c.emit(Op::kAdd, {*product, added});
}

Status import_matmul(NodeContext& c) {
  SPARSENET_ASSIGN_OR_RETURN(ValueId weight, matrix_constant(c, 1, true, 1.f));
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  if (c.writer().shape(x).size() != 2) {
    return unsupported("left operand: expected rank 2, found " + to_string(c.writer().shape(x)));
  }
  return c.emit(Op::kFullyConnected, {x, weight}, FullyConnectedAttrs{});
}

}  // namespace

NodeImporter find_weight_op(const std::string& op) {
  if (op == "Conv") return import_conv;
  if (op == "BatchNormalization") return import_batch_normalization;
  if (op == "Gemm") return import_gemm;
  if (op == "MatMul") return import_matmul;
  return nullptr;
}

}  // namespace sparsenet::converter

// ONNX convolutions and batch normalisations.
#include <algorithm>
#include <cstring>

#include "converter/onnx/compose.h"
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

// Signals [N, C, L] are images of one row.
Status import_conv(NodeContext& c) {
  Result<HostTensorPtr> weight = c.constant(1, "weight");
  if (!weight.ok()) return weight.status();
  Shape w = (*weight)->shape;
  if (w.size() != 4 && w.size() != 3) {
    return unsupported("expected a convolution of one or two dimensions (weight of rank 3 or 4), found weight " +
                       to_string(w));
  }
  ConvAttrs attrs;
  Window window;
  SPARSENET_RETURN_IF_ERROR(window.read(c, Shape(w.begin() + 2, w.end())));
  const int64_t groups = c.int_attribute("group", 1);
  if (groups < 1 || groups > w[0])
    return invalid_model("group: expected 1 to " + std::to_string(w[0]) + ", found " + std::to_string(groups));
  attrs.groups = static_cast<int32_t>(groups);
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  const Shape image = window.image_shape(c.writer().shape(x));
  SPARSENET_RETURN_IF_ERROR(window.resolve(image));
  attrs.kernel = window.kernel;
  attrs.stride = window.stride;
  attrs.dilation = window.dilation;
  attrs.pads = window.pads;
  std::vector<ValueId> inputs{x};
  Compose g(c);
  if (window.line) {
    const HostTensor& t = **weight;
    inputs[0] = g.reshape(x, image);
    inputs.push_back(c.add_constant(t, {w[0], w[1], 1, w[2]}, t.floats, t.change.empty() ? "initializer" : t.change));
  } else {
    SPARSENET_ASSIGN_OR_RETURN(ValueId weight_value, c.value(1));
    inputs.push_back(weight_value);
  }
  if (c.has_input(2)) {
    SPARSENET_ASSIGN_OR_RETURN(ValueId bias, vector_constant(c, 2, "bias", w[0]));
    inputs.push_back(bias);
  }
  if (!window.line) return c.emit(Op::kConv, std::move(inputs), attrs);
  const ValueId y = g.node(Op::kConv, inputs, attrs);
  const Shape s = g.shape(y);
  return g.finish(g.ok() ? g.reshape(y, {s[0], s[1], s[3]}) : y);
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
  // Signals [N, C, L] and volumes [N, C, D, H, W]: what lies behind the channels is one row of pixels.
  const Shape row{shape[0], shape[1], 1, element_count(shape) / (shape[0] * shape[1])};
  SPARSENET_ASSIGN_OR_RETURN(ValueId image, c.writer().reshape(c.name() + ".row", x, row));
  SPARSENET_ASSIGN_OR_RETURN(ValueId y,
                             c.writer().node(Op::kBatchNorm, c.name(), inputs(image), attrs, c.name() + ".normalized"));
  SPARSENET_ASSIGN_OR_RETURN(ValueId back, c.writer().reshape(c.name() + ".restore", y, shape, c.output_name(0)));
  c.set_output(0, back);
  return {};
}

}  // namespace

NodeImporter find_weight_op(const std::string& op) {
  if (op == "Conv") return import_conv;
  if (op == "BatchNormalization") return import_batch_normalization;
  if (NodeImporter importer = find_matrix_op(op)) return importer;
  if (NodeImporter importer = find_normalize_op(op)) return importer;
  return find_transposed_conv_op(op);
}

}  // namespace sparsenet::converter

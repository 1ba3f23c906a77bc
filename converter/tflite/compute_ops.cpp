// TensorFlow Lite operators that compute: convolutions, fully connected layers, pooling, elementwise.
#include <algorithm>
#include <array>

#include "converter/same_padding.h"
#include "converter/tflite/tflite_context.h"

namespace sparsenet::converter {
namespace {

using tflite::ActivationFunctionType;
using tflite::BuiltinOperator;
using tflite::Padding;

constexpr int32_t kMaxWindow = 1 << 12;  // larger windows are a sign of damage, not of real networks

Status check_window(const char* what, int64_t height, int64_t width) {
  if (height >= 1 && width >= 1 && height <= kMaxWindow && width <= kMaxWindow) return {};
  return invalid_model(std::string(what) + ": expected 1 to " + std::to_string(kMaxWindow) + ", found " +
                       std::to_string(height) + " and " + std::to_string(width));
}

// An image input: [N, C, H, W] in the graph.
Result<ValueId> image_input(TfliteContext& c, size_t i) {
  SPARSENET_ASSIGN_OR_RETURN(TfliteValue x, c.activation(i));
  if (x.layout != Layout::kChannelsFirst)
    return unsupported("input: expected rank 4, found " + to_string(c.writer().shape(x.id)));
  return x.id;
}

template <class Attributes>
Status resolve_padding(Padding padding, const Shape& input, const std::array<int32_t, 2>& dilation, Attributes* attrs) {
  if (padding == Padding::VALID) return {};
  if (padding != Padding::SAME) return invalid_model("padding: expected SAME or VALID");
  for (size_t d = 0; d < 2; ++d) {
    same_padding(input[d + 2], attrs->kernel[d], attrs->stride[d], dilation[d], false, &attrs->pads[d],
                 &attrs->pads[d + 2]);
  }
  return {};
}

Status add_bias(TfliteContext& c, int64_t size, std::vector<ValueId>* inputs) {
  if (c.input_index(2) < 0) return {};
  Result<HostTensor> bias = c.parameter(2, "bias");
  if (!bias.ok()) return bias.status();
  if (bias->size() != static_cast<size_t>(size)) {
    return invalid_model("bias: expected " + std::to_string(size) + " elements, found " + to_string(bias->shape));
  }
  bias->shape = {size};
  inputs->push_back(c.add_constant(2, std::move(bias).value(), "bias"));
  return {};
}

template <class Options>
Status import_convolution(TfliteContext& c, const Options* options, bool depthwise) {
  if (!options) return invalid_model("its options are missing");
  SPARSENET_RETURN_IF_ERROR(check_window("stride", options->stride_h(), options->stride_w()));
  SPARSENET_RETURN_IF_ERROR(check_window("dilation", options->dilation_h_factor(), options->dilation_w_factor()));
  Result<HostTensor> weight = c.parameter(1, "weight");
  if (!weight.ok()) return weight.status();
  if (weight->shape.size() != 4) return invalid_model("weight: expected rank 4, found " + to_string(weight->shape));
  SPARSENET_RETURN_IF_ERROR(check_window("kernel", weight->shape[1], weight->shape[2]));
  if (depthwise && weight->shape[0] != 1)
    return invalid_model("weight: expected [1, H, W, C], found " + to_string(weight->shape));
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, image_input(c, 0));
  const Shape shape = c.writer().shape(x);
  ConvAttrs attrs;
  attrs.kernel = {static_cast<int32_t>(weight->shape[1]), static_cast<int32_t>(weight->shape[2])};
  attrs.stride = {options->stride_h(), options->stride_w()};
  attrs.dilation = {options->dilation_h_factor(), options->dilation_w_factor()};
  // A convolution is grouped if its weight reads fewer channels than the input has.
  const int64_t groups = depthwise ? shape[1] : shape[1] / weight->shape[3];
  if (groups < 1 || groups > INT32_MAX || (!depthwise && groups * weight->shape[3] != shape[1])) {
    return invalid_model("weight " + to_string(weight->shape) + " does not divide the input's " +
                         std::to_string(shape[1]) + " channels");
  }
  attrs.groups = static_cast<int32_t>(groups);
  SPARSENET_RETURN_IF_ERROR(resolve_padding(options->padding(), shape, attrs.dilation, &attrs));
  HostTensor oihw =
      transposed(*weight, depthwise ? std::vector<int32_t>{3, 0, 1, 2} : std::vector<int32_t>{0, 3, 1, 2});
  const int64_t outputs = oihw.shape[0];
  SPARSENET_ASSIGN_OR_RETURN(std::vector<ValueId> inputs,
                             c.layer_inputs(x, std::move(oihw), groups, "weight, transposed"));
  SPARSENET_RETURN_IF_ERROR(add_bias(c, outputs, &inputs));
  return c.emit(Op::kConv, std::move(inputs), attrs, options->fused_activation_function(), Layout::kChannelsFirst);
}

Status import_conv(TfliteContext& c) {
  return import_convolution(c, c.op().builtin_options_as_Conv2DOptions(), false);
}
Status import_depthwise(TfliteContext& c) {
  return import_convolution(c, c.op().builtin_options_as_DepthwiseConv2DOptions(), true);
}

Status import_fully_connected(TfliteContext& c) {
  const auto* options = c.op().builtin_options_as_FullyConnectedOptions();
  const auto activation = options ? options->fused_activation_function() : ActivationFunctionType::NONE;
  if (options && options->weights_format() != tflite::FullyConnectedOptionsWeightsFormat::DEFAULT) {
    return unsupported("shuffled weights");
  }
  Result<HostTensor> weight = c.parameter(1, "weight");
  if (!weight.ok()) return weight.status();
  if (weight->shape.size() != 2) return invalid_model("weight: expected a matrix, found " + to_string(weight->shape));
  SPARSENET_ASSIGN_OR_RETURN(TfliteValue x, c.activation(0));
  const Shape shape = c.writer().shape(x.id);
  const int64_t per_image = element_count(shape) / shape[0];
  const int64_t outputs = weight->shape[0];
  if (per_image != weight->shape[1]) {
    return unsupported("weight: expected " + std::to_string(per_image) + " columns for input " + to_string(shape) +
                       ", found " + to_string(weight->shape));
  }
  if (options && options->keep_num_dims() && shape.size() != 2)
    return unsupported("keep_num_dims with rank " + std::to_string(shape.size()));
  SPARSENET_ASSIGN_OR_RETURN(ValueId flat, c.writer().reshape(c.name() + ".flat", x.id, {shape[0], per_image}));
  const char* how = "weight";
  HostTensor matrix = std::move(weight).value();
  int64_t channels = x.channels, height = x.height, width = x.width;
  if (x.layout == Layout::kChannelsFirst) {
    channels = shape[1];
    height = shape[2];
    width = shape[3];
  }
  if (x.layout != Layout::kPlain && channels > 1 && height * width > 1) {
    matrix.shape = {outputs, height, width, channels};
    matrix = transposed(matrix, {0, 3, 1, 2});
    matrix.shape = {outputs, per_image};
    how = "weight, columns reordered from HWC to CHW";
  }
  SPARSENET_ASSIGN_OR_RETURN(std::vector<ValueId> inputs, c.layer_inputs(flat, std::move(matrix), 1, how));
  SPARSENET_RETURN_IF_ERROR(add_bias(c, outputs, &inputs));
  return c.emit(Op::kFullyConnected, std::move(inputs), FullyConnectedAttrs{}, activation, Layout::kPlain);
}

Status import_pool(TfliteContext& c) {
  const auto* options = c.op().builtin_options_as_Pool2DOptions();
  if (!options) return invalid_model("its options are missing");
  SPARSENET_RETURN_IF_ERROR(check_window("stride", options->stride_h(), options->stride_w()));
  SPARSENET_RETURN_IF_ERROR(check_window("window", options->filter_height(), options->filter_width()));
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, image_input(c, 0));
  PoolAttrs attrs;
  attrs.kernel = {options->filter_height(), options->filter_width()};
  attrs.stride = {options->stride_h(), options->stride_w()};
  attrs.count_include_pad = false;  // padding is never counted here
  SPARSENET_RETURN_IF_ERROR(resolve_padding(options->padding(), c.writer().shape(x), {1, 1}, &attrs));
  const Op op = c.op_name() == "MAX_POOL_2D" ? Op::kMaxPool : Op::kAveragePool;
  return c.emit(op, {x}, attrs, options->fused_activation_function(), Layout::kChannelsFirst);
}

// Integers have one form of mean, that of all pixels: the other dimensions become channels, those of `axes` pixels. The
// result has the same rank.
Result<ValueId> mean_of_integers(TfliteContext& c, ValueId x, const std::vector<int32_t>& axes,
                                 const std::string& name) {
  const Shape shape = c.writer().shape(x);
  std::vector<int32_t> order;
  Shape pixels{shape[0], 1, 1, 1}, kept = shape;
  for (size_t d = 0; d < shape.size(); ++d) {
    const bool reduced = std::binary_search(axes.begin(), axes.end(), static_cast<int32_t>(d));
    if (!reduced) order.push_back(static_cast<int32_t>(d));
    if (!reduced && d > 0) pixels[1] *= shape[d];
    if (reduced) kept[d] = 1;
  }
  for (const int32_t axis : axes) {
    order.push_back(axis);
    pixels[2] *= shape[static_cast<size_t>(axis)];
  }
  SPARSENET_ASSIGN_OR_RETURN(const ValueId moved, c.writer().transpose(c.name() + ".ordered", x, order));
  SPARSENET_ASSIGN_OR_RETURN(const ValueId image, c.writer().reshape(c.name() + ".pixels", moved, pixels));
  SPARSENET_ASSIGN_OR_RETURN(
      const ValueId mean, c.writer().node(Op::kGlobalAveragePool, c.name(), {image}, NoAttrs{}, c.name() + ".pooled"));
  return c.writer().reshape(c.name() + ".kept", mean, kept, name);
}

Status import_mean(TfliteContext& c) {
  const auto* options = c.op().builtin_options_as_ReducerOptions();
  const bool keep = options && options->keep_dims();
  Result<std::vector<int64_t>> axes = c.ints(1, "axes");
  if (!axes.ok()) return axes.status();
  SPARSENET_ASSIGN_OR_RETURN(TfliteValue x, c.ordered(0));
  const Shape shape = c.writer().shape(x.id);
  std::vector<int32_t> mapped;
  for (int64_t axis : *axes) {
    SPARSENET_ASSIGN_OR_RETURN(int32_t at, c.map_axis(axis, shape.size()));
    if (at == 0) return unsupported("the mean over the batch");
    mapped.push_back(at);
  }
  std::sort(mapped.begin(), mapped.end());
  mapped.erase(std::unique(mapped.begin(), mapped.end()), mapped.end());
  if (mapped.empty()) return invalid_model("no axes");
  const Layout layout = x.layout;
  const bool global = layout == Layout::kChannelsFirst && mapped == std::vector<int32_t>{2, 3};
  const std::string name = keep ? c.name() : c.name() + ".mean";
  Result<ValueId> mean = global ? c.writer().node(Op::kGlobalAveragePool, c.name(), {x.id}, NoAttrs{}, name)
                         : c.is_int8(0)
                             ? mean_of_integers(c, x.id, mapped, name)
                             : c.writer().node(Op::kReduceMean, c.name(), {x.id}, ReduceAttrs{mapped, true}, name);
  if (!mean.ok()) return mean.status();
  if (keep) {
    c.set_output(0, *mean, layout);
    return {};
  }
  TfliteValue kept = x;
  kept.id = *mean;
  // Removes the reduced axes, in the file's order.
  Shape target;
  const Shape sizes = c.writer().shape(*mean);
  for (size_t d = 0; d < sizes.size(); ++d) {
    const int32_t at = *c.map_axis(static_cast<int64_t>(d), sizes.size());
    if (!std::binary_search(mapped.begin(), mapped.end(), at)) target.push_back(sizes[static_cast<size_t>(at)]);
  }
  return c.reshape(kept, target);
}

Status import_softmax(TfliteContext& c) {
  const auto* options = c.op().builtin_options_as_SoftmaxOptions();
  const float beta = options ? options->beta() : 1.f;
  if (beta != 1.f && c.is_int8(0)) return unsupported("beta: expected 1 for int8, found " + std::to_string(beta));
  SPARSENET_ASSIGN_OR_RETURN(TfliteValue x, c.ordered(0));
  ValueId id = x.id;
  if (beta != 1.f) {
    const ValueId factor = c.writer().constant(c.name() + ".beta", Tensor::from({1}, {beta}));
    SPARSENET_ASSIGN_OR_RETURN(id, c.writer().node(Op::kMul, c.name(), {id, factor}, NoAttrs{}, c.name() + ".scaled"));
  }
  const size_t rank = c.writer().shape(id).size();
  SPARSENET_ASSIGN_OR_RETURN(int32_t axis, c.map_axis(-1, rank));
  if (axis == 0) return unsupported("softmax over the batch");
  return c.emit(Op::kSoftmax, {id}, AxisAttrs{axis}, x.layout);
}

Status import_binary(TfliteContext& c) {
  Op op = Op::kAdd;
  ActivationFunctionType activation = ActivationFunctionType::NONE;
  if (const auto* add = c.op().builtin_options_as_AddOptions()) activation = add->fused_activation_function();
  if (c.op_name() == "SUB") {
    op = Op::kSub;
    if (const auto* options = c.op().builtin_options_as_SubOptions()) activation = options->fused_activation_function();
  } else if (c.op_name() == "MUL") {
    op = Op::kMul;
    if (const auto* options = c.op().builtin_options_as_MulOptions()) activation = options->fused_activation_function();
  } else if (c.op_name() == "DIV") {
    op = Op::kDiv;
    if (const auto* options = c.op().builtin_options_as_DivOptions()) activation = options->fused_activation_function();
  }
  SPARSENET_RETURN_IF_ERROR(check_activation(activation));
  // The activation with more axes determines the rank; constants are reshaped to it.
  size_t rank = 0;
  for (size_t i = 0; i < 2; ++i) {
    const Result<TfliteValue> x = c.activation(i);
    if (x.ok()) rank = std::max(rank, c.writer().shape(x->id).size());
    if (c.skipped()) return internal_error("unknown input");
  }
  if (rank == 0) return unsupported("both operands are constants");
  SPARSENET_ASSIGN_OR_RETURN(ValueId a, c.operand(0, rank));
  SPARSENET_ASSIGN_OR_RETURN(ValueId b, c.operand(1, rank));
  return c.emit(op, {a, b}, NoAttrs{}, activation, rank == 4 ? Layout::kChannelsFirst : Layout::kPlain);
}

// Elementwise: the layout stays what it is.
Status emit_pointwise(TfliteContext& c, Op op, Attrs attrs = NoAttrs{}) {
  SPARSENET_ASSIGN_OR_RETURN(TfliteValue x, c.activation(0));
  SPARSENET_ASSIGN_OR_RETURN(ValueId y, c.writer().node(op, c.name(), {x.id}, std::move(attrs), c.name()));
  TfliteValue out = x;
  out.id = y;
  c.set_output(0, out);
  return {};
}

// Operators that are an activation of ours, with fixed parameters.
struct ActivationOperator {
  const char* name;
  Op op;
  Attrs attrs = NoAttrs{};
};

const ActivationOperator* find_activation_operator(const std::string& name) {
  static const ActivationOperator kRows[] = {
      {"RELU", Op::kRelu},
      {"RELU6", Op::kClip, ClipAttrs{0.f, 6.f}},
      {"RELU_N1_TO_1", Op::kClip, ClipAttrs{-1.f, 1.f}},
      {"RELU_0_TO_1", Op::kClip, ClipAttrs{0.f, 1.f}},
      {"LOGISTIC", Op::kSigmoid},
      {"TANH", Op::kTanh},
      {"HARD_SWISH", Op::kHardSwish},
      {"ELU", Op::kElu, AlphaBetaAttrs{1.f, 0.f}},
  };
  for (const ActivationOperator& row : kRows) {
    if (name == row.name) return &row;
  }
  return nullptr;
}

Status import_activation(TfliteContext& c) {
  const ActivationOperator& row = *find_activation_operator(c.op_name());
  return emit_pointwise(c, row.op, row.attrs);
}

Status import_gelu(TfliteContext& c) {
  const auto* options = c.op().builtin_options_as_GeluOptions();
  return emit_pointwise(c, options && options->approximate() ? Op::kGeluTanh : Op::kGelu);
}

Status import_leaky_relu(TfliteContext& c) {
  const auto* options = c.op().builtin_options_as_LeakyReluOptions();
  return emit_pointwise(c, Op::kLeakyRelu, AlphaBetaAttrs{options ? options->alpha() : 0.f, 0.f});
}

Status import_prelu(TfliteContext& c) {
  Result<HostTensor> slope = c.floats(1, "slope");
  if (!slope.ok()) return slope.status();
  const auto [low, high] = std::minmax_element(slope->floats.begin(), slope->floats.end());
  if (*low != *high) return unsupported("slopes that differ between channels");
  return emit_pointwise(c, Op::kLeakyRelu, AlphaBetaAttrs{*low, 0.f});
}

// QUANTIZE, and DEQUANTIZE of computed values.
Status import_type_change(TfliteContext& c) {
  if (c.op_name() == "DEQUANTIZE") return emit_pointwise(c, Op::kDequantize);
  SPARSENET_ASSIGN_OR_RETURN(TfliteValue x, c.activation(0));
  SPARSENET_ASSIGN_OR_RETURN(x.id,
                             c.writer().node(Op::kQuantize, c.name(), {c.before_int8(x.id)}, NoAttrs{}, c.name()));
  c.set_output(0, x);
  return {};
}

}  // namespace

TfliteImporter find_tflite_compute_op(BuiltinOperator op) {
  switch (op) {
    case BuiltinOperator::CONV_2D:
      return import_conv;
    case BuiltinOperator::DEPTHWISE_CONV_2D:
      return import_depthwise;
    case BuiltinOperator::FULLY_CONNECTED:
      return import_fully_connected;
    case BuiltinOperator::AVERAGE_POOL_2D:
    case BuiltinOperator::MAX_POOL_2D:
      return import_pool;
    case BuiltinOperator::MEAN:
      return import_mean;
    case BuiltinOperator::SOFTMAX:
      return import_softmax;
    case BuiltinOperator::ADD:
    case BuiltinOperator::SUB:
    case BuiltinOperator::MUL:
    case BuiltinOperator::DIV:
      return import_binary;
    case BuiltinOperator::GELU:
      return import_gelu;
    case BuiltinOperator::LEAKY_RELU:
      return import_leaky_relu;
    case BuiltinOperator::PRELU:
      return import_prelu;
    case BuiltinOperator::QUANTIZE:
    case BuiltinOperator::DEQUANTIZE:
      return import_type_change;
    default:
      return find_activation_operator(EnumNameBuiltinOperator(op)) ? import_activation : nullptr;
  }
}

}  // namespace sparsenet::converter

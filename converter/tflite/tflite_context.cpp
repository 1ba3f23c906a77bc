#include "converter/tflite/tflite_context.h"

#include <algorithm>
#include <cstring>

#include "converter/tflite/tflite_integers.h"

namespace sparsenet::converter {

using tflite::ActivationFunctionType;
using tflite::TensorType;

std::string type_name(tflite::TensorType type) {
  const char* name = tflite::EnumNameTensorType(type);
  if (name && *name) return name;
  // Operators newer than the schema used here.
  static const struct {
    int type;
    const char* name;
  } kLater[] = {{19, "INT2"}, {20, "UINT4"}};
  for (const auto& row : kLater) {
    if (static_cast<int>(type) == row.type) return row.name;
  }
  return "number " + std::to_string(static_cast<int>(type));
}

namespace {

std::string activation_name(ActivationFunctionType activation) {
  const char* name = tflite::EnumNameActivationFunctionType(activation);
  return name && *name ? name : "number " + std::to_string(static_cast<int>(activation));
}

}  // namespace

std::string TfliteState::tensor_name(int32_t index) const {
  // Any number of tensors may refer to the same name, so long names are truncated: the ones stored in models are not
  // longer.
  constexpr uint32_t kMost = 1024;
  const auto* name = tensor(index)->name();
  if (!name || name->size() == 0) return "tensor" + std::to_string(index);
  return {name->c_str(), std::min(name->size(), kMost)};
}

Shape TfliteState::tensor_shape(int32_t index) const {
  Shape shape;
  constexpr uint32_t kMost = 16;  // twice as much as any reader of it takes; the list may be shared, too
  const auto* dims = tensor(index)->shape();
  for (uint32_t d = 0; dims && d < std::min(dims->size(), kMost); ++d) shape.push_back(dims->Get(d));
  return shape;
}

const flatbuffers::Vector<uint8_t>* TfliteState::data(int32_t index) const {
  const uint32_t buffer = tensor(index)->buffer();
  if (!model->buffers() || buffer == 0 || buffer >= model->buffers()->size()) return nullptr;
  const tflite::Buffer* entry = model->buffers()->Get(buffer);
  const auto* bytes = entry ? entry->data() : nullptr;
  return bytes && bytes->size() > 0 ? bytes : nullptr;
}

TfliteContext::TfliteContext(TfliteState* state, const tflite::Operator* op, std::string op_name)
    : state_(*state), op_(*op), op_name_(std::move(op_name)) {
  name_ = output_count() > 0 ? state_.tensor_name(output_index(0)) : op_name_;
}

int32_t TfliteContext::input_index(size_t i) const {
  return i < input_count() ? op_.inputs()->Get(static_cast<flatbuffers::uoffset_t>(i)) : -1;
}

std::string TfliteContext::output_name(size_t i) const {
  return state_.tensor_name(output_index(i));
}

int32_t TfliteContext::output_index(size_t i) const {
  return op_.outputs()->Get(static_cast<flatbuffers::uoffset_t>(i));
}

Result<TfliteValue> TfliteContext::activation(size_t i) {
  const int32_t index = input_index(i);
  if (index < 0) return invalid_model("input " + std::to_string(i) + " is missing");
  const TfliteValue& value = state_.values[static_cast<size_t>(index)];
  switch (value.kind) {
    case TfliteValue::Kind::kActivation:
      return value;
    case TfliteValue::Kind::kUnknown:
      skipped_ = true;
      return internal_error("unknown input");
    case TfliteValue::Kind::kShapeArithmetic:
      return unsupported("input " + std::to_string(i) + " is computed from shapes");
    case TfliteValue::Kind::kConstant:
      break;
  }
  return unsupported("input " + std::to_string(i) + " is a constant: expected an activation");
}

Result<TfliteValue> TfliteContext::ordered(size_t i) {
  Result<TfliteValue> x = activation(i);
  if (!x.ok() || x->layout != Layout::kFlat) return x;
  SPARSENET_ASSIGN_OR_RETURN(ValueId id, in_file_order(*x));
  TfliteValue out = *x;
  out.id = id;
  out.layout = Layout::kPlain;
  return out;
}

// Transposes if the orders differ; a channels-first value is returned as [N, H, W, C] (effectively kPlain).
Result<ValueId> TfliteContext::in_file_order(const TfliteValue& x) {
  if (x.layout == Layout::kPlain) return x.id;
  ValueId image = x.id;
  const Shape shape = writer().shape(x.id);
  if (x.layout == Layout::kFlat) {
    SPARSENET_ASSIGN_OR_RETURN(image,
                               writer().reshape(name_ + ".image", x.id, {shape[0], x.channels, x.height, x.width}));
  }
  const Shape nchw = writer().shape(image);
  const Shape nhwc{nchw[0], nchw[2], nchw[3], nchw[1]};
  Result<ValueId> moved = image;
  if (nchw[1] == 1 || nchw[2] * nchw[3] == 1) {
    moved = writer().reshape(name_ + ".channels_last", image, nhwc);  // moves no elements
  } else {
    moved = writer().transpose(name_ + ".channels_last", image, {0, 2, 3, 1});
  }
  if (!moved.ok() || x.layout == Layout::kChannelsFirst) return moved;
  return writer().reshape(name_ + ".flat", *moved, shape);
}

Result<HostTensor> TfliteContext::floats(size_t i, const char* what) {
  const int32_t index = input_index(i);
  if (index >= 0 && state_.values[static_cast<size_t>(index)].kind == TfliteValue::Kind::kConstant) {
    const TensorType type = state_.tensor(state_.values[static_cast<size_t>(index)].tensor)->type();
    if (type != TensorType::FLOAT16 && type != TensorType::FLOAT32) {
      return unsupported(std::string(what) + " (input " + std::to_string(i) +
                         "): expected float32 or float16, found element type " + type_name(type));
    }
  }
  return constant(i, what);
}

Result<HostTensor> TfliteContext::constant(size_t i, const char* what) {
  const std::string where = std::string(what) + " (input " + std::to_string(i) + ")";
  int32_t index = input_index(i);
  if (index < 0) return invalid_model(where + " is missing");
  const TfliteValue& value = state_.values[static_cast<size_t>(index)];
  if (value.kind == TfliteValue::Kind::kUnknown) {
    skipped_ = true;
    return internal_error("unknown input");
  }
  if (value.kind != TfliteValue::Kind::kConstant)
    return unsupported(where + " is computed by the network: expected a constant");
  index = value.tensor;
  const TensorType type = state_.tensor(index)->type();
  HostTensor out;
  if (type == TensorType::FLOAT16) {
    out.type = ElementType::kFloat16;
  } else if (is_byte(type)) {
    out.type = ElementType::kInt8;
  } else if (type == TensorType::INT32) {
    out.type = ElementType::kInt32;
  } else if (type != TensorType::FLOAT32) {
    return unsupported(where + ": expected float32, float16, int8 or uint8, found element type " + type_name(type));
  }
  if (state_.tensor(index)->sparsity()) return unsupported(where + " is stored sparse");
  const auto* bytes = state_.data(index);
  out.shape = state_.tensor_shape(index);
  out.source = state_.tensor_name(index);
  const int64_t count = element_count(out.shape);
  uint64_t wanted = 0;
  if (out.shape.size() > 8 || count <= 0 || !multiply(static_cast<uint64_t>(count), size_of(out.type), &wanted) ||
      wanted != bytes->size()) {
    return invalid_model(where + ": expected " + std::to_string(wanted) + " bytes for " + to_string(out.shape) +
                         ", found " + std::to_string(bytes->size()));
  }
  if (!out.is_float()) {
    out.ints.resize(static_cast<size_t>(count));
    int64_t* to = out.ints.data();
    const ElementType stored = type == TensorType::UINT8 ? ElementType::kUInt8 : out.type;
    const int64_t shift = type == TensorType::UINT8 ? 128 : 0;
    for (int64_t k = 0; k < count; ++k) {
      to[k] = load_int(stored, bytes->data() + static_cast<size_t>(k) * size_of(stored)) - shift;
    }
    return out;
  }
  // Uses the file's own bytes as long as nobody changes them; constants of the graph are copied, see add_constant().
  const std::shared_ptr<const void> file(std::shared_ptr<const void>(), bytes->data());
  out.floats = load_or_share_floats(out.type, bytes->data(), static_cast<size_t>(count), file);
  return out;
}

bool TfliteContext::is_int8(size_t i) const {
  const int32_t index = input_index(i);
  return index >= 0 && is_byte(state_.tensor(index)->type());
}

Result<HostTensor> TfliteContext::parameter(size_t i, const char* what) {
  Result<HostTensor> found = constant(i, what);
  if (!found.ok()) return found;
  const std::string where = std::string(what) + " (input " + std::to_string(i) + ")";
  if (is_int8(0)) {
    const ElementType expected = i == 1 ? ElementType::kInt8 : ElementType::kInt32;
    if (found->type == expected) return found;
    const std::string input = type_name(state_.tensor(input_index(0))->type());
    return unsupported(where + ": expected " + (i == 1 ? input : "INT32") + " beside an input of " + input +
                       ", found " + type_name(state_.tensor(input_index(i))->type()));
  }
  if (found->is_float()) return found;
  SPARSENET_RETURN_IF_ERROR(widen(state_, input_index(i), &*found).with_context(where));
  return found;
}

Result<float> TfliteContext::number(size_t i, const char* what) {
  const bool integers = is_int8(0) && is_int8(i);
  Result<HostTensor> value = integers ? constant(i, what) : floats(i, what);
  if (!value.ok()) return value.status();
  if (value->size() != 1) {
    return invalid_model(std::string(what) + ": expected one number, found " + to_string(value->shape));
  }
  if (!integers) return value->floats[0];
  const Quantization q = quantization(i);
  if (q.scales.size() != 1) return unsupported(std::string(what) + ": expected a scale");
  return q.scales[0] * static_cast<float>(value->ints[0] - q.zero_points[0]);
}

Result<std::vector<int64_t>> TfliteContext::ints(size_t i, const char* what) {
  const std::string where = std::string(what) + " (input " + std::to_string(i) + ")";
  const int32_t index = input_index(i);
  if (index < 0) return invalid_model(where + " is missing");
  const TfliteValue& value = state_.values[static_cast<size_t>(index)];
  if (value.kind == TfliteValue::Kind::kUnknown) {
    skipped_ = true;
    return internal_error("unknown input");
  }
  if (value.kind != TfliteValue::Kind::kConstant)
    return unsupported(where + " is computed by the network: expected a constant");
  const tflite::TensorType type = state_.tensor(index)->type();
  if (type != tflite::TensorType::INT32 && type != tflite::TensorType::INT64)
    return invalid_model(where + ": expected integers");
  const auto* bytes = state_.data(index);
  const ElementType element = type == tflite::TensorType::INT32 ? ElementType::kInt32 : ElementType::kInt64;
  const size_t step = size_of(element);
  const int64_t count = element_count(state_.tensor_shape(index));
  if (count < 0 || static_cast<uint64_t>(count) != bytes->size() / step || bytes->size() % step != 0) {
    return invalid_model(where + ": expected " + std::to_string(count) + " elements, found " +
                         std::to_string(bytes->size()) + " bytes");
  }
  // Lists that operators take as input have as many entries as a shape, or a few per dimension.
  constexpr int64_t kMost = 4096;
  if (count > kMost) {
    return unsupported(where + ": expected at most " + std::to_string(kMost) + " integers, found " +
                       std::to_string(count));
  }
  std::vector<int64_t> out;
  for (size_t k = 0; k < bytes->size() / step; ++k) out.push_back(load_int(element, bytes->data() + k * step));
  const size_t record = state_.records[static_cast<size_t>(index)];
  if (record != SIZE_MAX) state_.report->tensors[record].how = std::string("read as ") + what;
  return out;
}

ValueId TfliteContext::add_constant(size_t input, HostTensor tensor, const std::string& how) {
  (void)tensor.floats.data();  // the file is released before the graph is: elements that lie in it are copied now
  const ValueId id =
      writer().constant(tensor.source, tensor.is_float() ? tensor.floats.tensor(tensor.shape) : integer_tensor(tensor));
  const int32_t index = state_.values[static_cast<size_t>(input_index(input))].tensor;
  if (!tensor.is_float()) {
    Quantization q = quantization_of(*state_.tensor(index));
    q.axis = 0;  // outputs come first in the graph's weights
    writer().graph.value(id).quantization = std::move(q);
  }
  const size_t record = state_.records[static_cast<size_t>(index)];
  if (record != SIZE_MAX) {
    TensorRecord& entry = state_.report->tensors[record];
    const std::string& target = writer().graph.value(id).name;
    entry.target += (entry.target.empty() ? "" : ", ") + target;  // in place: it may be read very often
    entry.how = how;
  }
  return id;
}

Quantization TfliteContext::quantization(size_t i) const {
  return quantization_of(*state_.tensor(input_index(i)));
}

Result<std::vector<ValueId>> TfliteContext::layer_inputs(ValueId x, HostTensor weight, int64_t groups,
                                                         const std::string& how) {
  Quantization q = quantization(1);
  const auto is_zero = [](int32_t z) { return z == 0; };
  const bool fits = q.scales.size() <= 1 || static_cast<int64_t>(q.scales.size()) == weight.shape[0];
  if (weight.is_float() || !fits || std::all_of(q.zero_points.begin(), q.zero_points.end(), is_zero)) {
    return std::vector<ValueId>{x, add_constant(1, std::move(weight), how)};
  }
  const std::string where = "weight '" + printable(weight.source) + "' with zero point " +
                            std::to_string(q.zero_points[0] + (state_.is_unsigned(input_index(1)) ? 128 : 0));
  const int64_t channels = weight.shape[1];
  Result<CenteredWeights> split = centered(std::move(weight), q);
  if (!split.ok()) return unsupported(where + ": " + split.status().message());
  const std::string less = how + ", less its zero point";
  std::vector<ValueId> inputs{x, kNoValue};
  if (split->begin == split->end) {
    inputs[1] = add_constant(1, std::move(split->weight), less);
  } else {
    if (groups != 1) {
      return unsupported(where +
                         ": less that, its integers go beyond int8, which only convolutions without groups and "
                         "fully connected layers can have: quantise the float network to int8 instead");
    }
    // Of the same input twice: a Concat costs no copy.
    ValueId again = x;
    if (split->end - split->begin < channels) {
      SPARSENET_ASSIGN_OR_RETURN(
          again,
          writer().node(Op::kSlice, name_, {x}, SliceAttrs{{1}, {split->begin}, {split->end}, {1}}, name_ + ".some"));
    }
    SPARSENET_ASSIGN_OR_RETURN(inputs[0],
                               writer().node(Op::kConcat, name_, {x, again}, AxisAttrs{1}, name_ + ".twice"));
    inputs[1] = add_constant(1, beside(split->weight, split->rest), less + ", in two parts");
  }
  std::vector<int32_t>& zeros = writer().graph.value(inputs[1]).quantization.zero_points;
  std::fill(zeros.begin(), zeros.end(), 0);
  return inputs;
}

Result<ValueId> TfliteContext::operand(size_t i, size_t rank) {
  const int32_t index = input_index(i);
  if (index < 0) return invalid_model("input " + std::to_string(i) + " is missing");
  if (state_.values[static_cast<size_t>(index)].kind != TfliteValue::Kind::kConstant) {
    SPARSENET_ASSIGN_OR_RETURN(TfliteValue x, ordered(i));
    if (writer().shape(x.id).size() != rank) {
      return unsupported("operands of rank " + std::to_string(rank) + " and " +
                         std::to_string(writer().shape(x.id).size()));
    }
    return x.id;
  }
  const bool integers = is_byte(state_.tensor(output_index(0))->type()) && is_int8(i);
  Result<HostTensor> tensor = integers ? constant(i, "constant operand") : floats(i, "constant operand");
  if (!tensor.ok()) return tensor.status();
  if (tensor->shape.size() > rank) {
    return unsupported("constant operand " + to_string(tensor->shape) + ": expected rank " + std::to_string(rank) +
                       " or less");
  }
  HostTensor aligned = std::move(tensor).value();
  aligned.shape.insert(aligned.shape.begin(), rank - aligned.shape.size(), 1);
  if (rank == 4) aligned = transposed(aligned, {0, 3, 1, 2});
  return add_constant(i, std::move(aligned), "constant operand");
}

void TfliteContext::set_output(size_t i, const TfliteValue& value) {
  if (i < output_count()) state_.values[static_cast<size_t>(output_index(i))] = value;
}

void TfliteContext::set_output(size_t i, ValueId id, Layout layout) {
  TfliteValue value;
  value.kind = TfliteValue::Kind::kActivation;
  value.id = id;
  value.layout = layout;
  set_output(i, value);
}

Status check_activation(ActivationFunctionType activation) {
  switch (activation) {
    case ActivationFunctionType::NONE:
    case ActivationFunctionType::RELU:
    case ActivationFunctionType::RELU_N1_TO_1:
    case ActivationFunctionType::RELU6:
      return {};
    default:  // TensorFlow Lite's own kernels ignore a fused TANH or SIGN_BIT: it is unknown which was meant
      return unsupported("fused activation " + activation_name(activation));
  }
}

Status TfliteContext::emit(Op op, std::vector<ValueId> inputs, Attrs attrs, ActivationFunctionType activation,
                           Layout layout) {
  SPARSENET_RETURN_IF_ERROR(check_activation(activation));
  if (is_int8(0)) activation = fuse(activation, &attrs);
  const bool fused = activation != ActivationFunctionType::NONE;
  Result<ValueId> y = writer().node(op, name_, std::move(inputs), std::move(attrs), fused ? name_ + ".linear" : name_);
  if (!y.ok()) return y.status();
  switch (activation) {
    case ActivationFunctionType::RELU:
      y = writer().node(Op::kRelu, name_, {*y}, NoAttrs{}, name_);
      break;
    case ActivationFunctionType::RELU6:
      y = writer().node(Op::kClip, name_, {*y}, ClipAttrs{0.f, 6.f}, name_);
      break;
    case ActivationFunctionType::RELU_N1_TO_1:
      y = writer().node(Op::kClip, name_, {*y}, ClipAttrs{-1.f, 1.f}, name_);
      break;
    default:
      break;
  }
  if (!y.ok()) return y.status();
  set_output(0, *y, layout);
  return {};
}

Result<int32_t> TfliteContext::map_axis(int64_t axis, size_t rank) const {
  const auto r = static_cast<int64_t>(rank);
  if (axis < -r || axis >= r) {
    return invalid_model("axis: expected " + std::to_string(-r) + " to " + std::to_string(r - 1) + ", found " +
                         std::to_string(axis));
  }
  const int64_t at = axis < 0 ? axis + r : axis;
  static const int32_t kChannelsFirst[] = {0, 2, 3, 1};
  return rank == 4 ? kChannelsFirst[at] : static_cast<int32_t>(at);
}

Status TfliteContext::reshape(const TfliteValue& x, const Shape& target) {
  if (target.empty() || target.size() > 8) return unsupported("reshape to " + to_string(target));
  const Shape from = writer().shape(x.id);
  const bool image = x.layout == Layout::kChannelsFirst;
  // The form that nearly every classifier has costs nothing: see Layout::kFlat.
  if (image && target.size() == 2 && from[1] > 1 && from[2] * from[3] > 1 && target[0] == from[0]) {
    SPARSENET_ASSIGN_OR_RETURN(ValueId flat, writer().reshape(name_, x.id, target, name_));
    TfliteValue out = x;
    out.id = flat;
    out.layout = Layout::kFlat;
    out.channels = from[1];
    out.height = from[2];
    out.width = from[3];
    set_output(0, out);
    return {};
  }
  const bool same_order = image && (from[1] == 1 || from[2] * from[3] == 1);
  SPARSENET_ASSIGN_OR_RETURN(ValueId plain, same_order ? Result<ValueId>(x.id) : in_file_order(x));
  if (target.size() != 4) {
    SPARSENET_ASSIGN_OR_RETURN(ValueId y, writer().reshape(name_, plain, target, name_));
    set_output(0, y, Layout::kPlain);
    return {};
  }
  const Shape nchw{target[0], target[3], target[1], target[2]};
  Result<ValueId> y = plain;
  if (target[3] == 1 || target[1] * target[2] == 1) {
    y = writer().reshape(name_, plain, nchw, name_);
  } else {
    y = writer().reshape(name_ + ".channels_last", plain, target);
    if (y.ok()) y = writer().transpose(name_, *y, {0, 3, 1, 2}, name_);
  }
  if (!y.ok()) return y.status();
  set_output(0, *y, Layout::kChannelsFirst);
  return {};
}

}  // namespace sparsenet::converter

#include "converter/onnx/node_context.h"

#include <algorithm>

namespace sparsenet::converter {

using onnx_ns::AttributeProto;

void OnnxState::record_use(const HostTensor& tensor, const std::string& target, const std::string& how) {
  const auto found = records.find(tensor.source);
  if (found == records.end()) return;
  TensorRecord& record = report->tensors[found->second];
  // Modified in place, because a tensor may be read many times.
  if (!target.empty()) record.target += (record.target.empty() ? "" : ", ") + target;
  if (record.how.empty() || !target.empty()) record.how = how;
}

const std::string& NodeContext::name() const {
  static const std::string kNothing;
  if (!proto_.name().empty()) return proto_.name();
  return proto_.output_size() > 0 ? proto_.output(0) : kNothing;
}

const AttributeProto* NodeContext::attribute(const char* key) const {
  for (const AttributeProto& a : proto_.attribute()) {
    if (a.name() == key) return &a;
  }
  return nullptr;
}

Result<HostTensor> NodeContext::take_tensor_attribute(const char* key) {
  for (AttributeProto& a : *proto_.mutable_attribute()) {
    if (a.name() == key && a.has_t()) return take_tensor(a.mutable_t(), state_.folder);
  }
  return invalid_model(std::string("attribute ") + key + ": expected a tensor");
}

bool NodeContext::has_attribute(const char* key) const {
  return attribute(key) != nullptr;
}

Status NodeContext::wrong_type(const char* key, const char* expected) {
  attribute_status_ =
      invalid_model(std::string("attribute ") + key + ": expected " + expected + ", found another type");
  return attribute_status_;
}

// Files of IR version 1 omit the type: a value in the right field is enough.
int64_t NodeContext::int_attribute(const char* key, int64_t fallback) {
  const AttributeProto* a = attribute(key);
  if (!a) return fallback;
  if (!a->has_i()) {
    (void)wrong_type(key, "an integer");
    return fallback;
  }
  return a->i();
}

float NodeContext::float_attribute(const char* key, float fallback) {
  const AttributeProto* a = attribute(key);
  if (!a) return fallback;
  if (!a->has_f()) {
    (void)wrong_type(key, "a number");
    return fallback;
  }
  return a->f();
}

std::string NodeContext::string_attribute(const char* key, const char* fallback) {
  const AttributeProto* a = attribute(key);
  if (!a) return fallback;
  if (!a->has_s()) {
    (void)wrong_type(key, "a text");
    return fallback;
  }
  return a->s();
}

std::vector<int64_t> NodeContext::ints_attribute(const char* key, std::vector<int64_t> fallback) {
  const AttributeProto* a = attribute(key);
  if (!a) return fallback;
  if (a->ints_size() == 0 && (a->has_i() || a->has_f() || a->has_s() || a->has_t())) {
    (void)wrong_type(key, "integers");
    return fallback;
  }
  return {a->ints().begin(), a->ints().end()};
}

bool NodeContext::has_input(size_t i) const {
  return i < input_count() && !proto_.input(static_cast<int>(i)).empty();
}

const OnnxValue* NodeContext::input(size_t i) const {
  if (!has_input(i)) return nullptr;
  const auto found = state_.values.find(proto_.input(static_cast<int>(i)));
  return found == state_.values.end() ? nullptr : &found->second;
}

bool NodeContext::all_inputs_constant() const {
  for (size_t i = 0; i < input_count(); ++i) {
    if (has_input(i) && (!input(i) || !input(i)->constant)) return false;
  }
  return true;
}

Result<ValueId> NodeContext::value(size_t i) {
  const OnnxValue* x = input(i);
  if (!x) return invalid_model("input " + std::to_string(i) + " is missing");
  if (x->unknown()) {
    skipped_ = true;
    return internal_error("unknown input");
  }
  if (x->id != kNoValue) return x->id;
  const HostTensor& tensor = *x->constant;
  if (!tensor.is_float()) {
    return unsupported("input " + std::to_string(i) + " is an " + converter::name(tensor.type) +
                       " constant: expected floats");
  }
  if (tensor.size() == 0) return invalid_model("input " + std::to_string(i) + " is an empty constant");
  const Shape shape = tensor.shape.empty() ? Shape{1} : tensor.shape;
  const ValueId id = add_constant(tensor, shape, tensor.floats, tensor.change.empty() ? "initializer" : tensor.change);
  state_.values[proto_.input(static_cast<int>(i))].id = id;  // later readers share the constant
  return id;
}

Result<HostTensorPtr> NodeContext::constant(size_t i, const char* what) {
  const OnnxValue* x = input(i);
  if (!x) return invalid_model(std::string(what) + " (input " + std::to_string(i) + ") is missing");
  if (x->constant) {
    if (!x->constant->is_float())
      return unsupported(std::string(what) + ": expected floats, found " + converter::name(x->constant->type));
    return x->constant;
  }
  if (x->unknown()) {
    skipped_ = true;
    return internal_error("unknown input");
  }
  return unsupported(std::string(what) + " (input " + std::to_string(i) +
                     ") is computed by the network: expected a constant");
}

Result<std::vector<int64_t>> NodeContext::ints(size_t i, const char* what) {
  const OnnxValue* x = input(i);
  if (!x) return invalid_model(std::string(what) + " (input " + std::to_string(i) + ") is missing");
  if (x->unknown()) {
    skipped_ = true;
    return internal_error("unknown input");
  }
  if (!x->constant)
    return unsupported(std::string(what) + " (input " + std::to_string(i) +
                       ") is computed by the network: expected a constant");
  if (x->constant->is_float()) return invalid_model(std::string(what) + ": expected integers, found floats");
  // Lists that operators take as input have as many entries as a shape, or a few per dimension.
  constexpr size_t kMost = 4096;
  if (x->constant->size() > kMost) {
    return unsupported(std::string(what) + ": expected at most " + std::to_string(kMost) + " integers, found " +
                       std::to_string(x->constant->size()));
  }
  state_.record_use(*x->constant, "", std::string("read as ") + what);
  return std::vector<int64_t>(x->constant->ints);
}

Result<float> NodeContext::scalar(size_t i, const char* what) {
  SPARSENET_ASSIGN_OR_RETURN(HostTensorPtr tensor, constant(i, what));
  if (tensor->floats.size() != 1) {
    return invalid_model(std::string(what) + ": expected one number, found " + to_string(tensor->shape));
  }
  state_.record_use(*tensor, "", std::string("read as ") + what);
  return tensor->floats[0];
}

Status NodeContext::mixes_batch(std::string message) {
  mixes_batch_ = true;
  return unsupported(std::move(message));
}

Status NodeContext::pin_batch() {
  mixes_batch_ = false;
  for (size_t i = 0; i < input_count(); ++i) {
    const OnnxValue* x = input(i);
    if (!x || x->id == kNoValue || x->constant || writer().batch_axis(x->id) < 0) continue;
    SPARSENET_ASSIGN_OR_RETURN(const ValueId fixed, writer().pinned(name(), x->id));
    state_.values[input_name(i)].id = fixed;  // later readers share it
  }
  return {};
}

ValueId NodeContext::add_constant(const HostTensor& tensor, Shape shape, const Elements<float>& values,
                                  const std::string& how) {
  const ValueId id =
      writer().constant(tensor.source.empty() ? name() + ".constant" : tensor.source, values.tensor(std::move(shape)));
  if (const IntegerWeights* weights = tensor.integer_weights(); weights && values.data() == weights->floats.data()) {
    state_.integers[writer().graph.value(id).name] = *weights;
  }
  state_.record_use(tensor, writer().graph.value(id).name, how);
  return id;
}

const std::string& NodeContext::output_name(size_t i) const {
  static const std::string none;
  return i < output_count() ? proto_.output(static_cast<int>(i)) : none;
}

bool NodeContext::output_is_used(size_t i) const {
  if (i >= output_count() || output_name(i).empty()) return false;
  const auto found = state_.uses.find(output_name(i));
  return found != state_.uses.end() && found->second > 0;
}

void NodeContext::set_output(size_t i, ValueId id) {
  if (i < output_count() && !output_name(i).empty()) state_.values[output_name(i)].id = id;
}

void NodeContext::set_output(size_t i, HostTensor tensor) {
  if (i >= output_count() || output_name(i).empty()) return;
  if (tensor.source.empty()) tensor.source = output_name(i);
  state_.values[output_name(i)].constant = std::make_shared<const HostTensor>(std::move(tensor));
}

void NodeContext::alias_output(size_t i, size_t input_index) {
  const OnnxValue* x = input(input_index);
  if (x && i < output_count()) {
    const OnnxValue copy = *x;
    state_.values[output_name(i)] = copy;
  }
}

Status NodeContext::emit(Op op, std::vector<ValueId> inputs, Attrs attrs) {
  SPARSENET_ASSIGN_OR_RETURN(ValueId y, writer().node(op, name(), std::move(inputs), std::move(attrs), output_name(0)));
  set_output(0, y);
  return {};
}

Status NodeContext::emit_unary(Op op, Attrs attrs) {
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, value(0));
  return emit(op, {x}, std::move(attrs));
}

Status NodeContext::emit_reshape(const Shape& target) {
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, value(0));
  SPARSENET_ASSIGN_OR_RETURN(ValueId y, writer().reshape(name(), x, target, output_name(0)));
  set_output(0, y);
  return {};
}

Result<int32_t> normalize_axis(int64_t axis, size_t rank) {
  const auto r = static_cast<int64_t>(rank);
  if (axis < -r || axis >= r) {
    return invalid_model("axis: expected " + std::to_string(-r) + " to " + std::to_string(r - 1) + ", found " +
                         std::to_string(axis));
  }
  return static_cast<int32_t>(axis < 0 ? axis + r : axis);
}

Result<std::vector<int32_t>> normalize_axes(const std::vector<int64_t>& axes, size_t rank) {
  std::vector<int32_t> out;
  for (int64_t axis : axes) {
    SPARSENET_ASSIGN_OR_RETURN(int32_t normal, normalize_axis(axis, rank));
    out.push_back(normal);
  }
  std::sort(out.begin(), out.end());
  if (std::adjacent_find(out.begin(), out.end()) != out.end()) return invalid_model("axes: one is listed twice");
  return out;
}

}  // namespace sparsenet::converter

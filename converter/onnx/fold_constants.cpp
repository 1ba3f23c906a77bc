// Whatever depends on constants alone is evaluated during the import: mainly the chains with which exporters compute
// the target of a Reshape or the pads of a Pad, and weights that are standardised or stored as integers.
#include <algorithm>
#include <cmath>
#include <limits>

#include "converter/onnx/fold.h"

namespace sparsenet::converter {

Status charge_folding(NodeContext& c, uint64_t elements) {
  const uint64_t most = (uint64_t{1} << 28) + 16 * c.state().initializer_elements;
  uint64_t& read = c.state().folded_elements;
  read += std::min(elements, UINT64_MAX - read);
  if (read <= most) return {};
  return out_of_memory("evaluating the nodes that depend on constants alone reads more than " + std::to_string(most) +
                       " elements");
}

HostTensor folded_integers(Shape shape, Elements<int64_t> values) {
  HostTensor out;
  out.type = ElementType::kInt64;
  out.shape = std::move(shape);
  out.ints = std::move(values);
  return out;
}

HostTensor folded_floats(Shape shape, Elements<float> values) {
  HostTensor out;
  out.shape = std::move(shape);
  out.floats = std::move(values);
  return out;
}

Status check_folded(const Shape& shape) {
  constexpr size_t kMaxRank = 8;
  if (shape.size() > kMaxRank) {
    return unsupported("a constant of rank " + std::to_string(shape.size()) + ": expected at most 8");
  }
  const int64_t count = element_count(shape);
  if (count >= 0 && count <= kMostFolded) return {};
  return unsupported("a constant of shape " + to_string(shape) + " has too many elements: expected at most " +
                     std::to_string(kMostFolded));
}

int64_t wrapped(ElementType type, int64_t value) {
  switch (type) {
    case ElementType::kBool:
      return value != 0 ? 1 : 0;
    case ElementType::kInt8:
      return static_cast<int8_t>(value);
    case ElementType::kUInt8:
      return static_cast<uint8_t>(value);
    case ElementType::kInt16:
      return static_cast<int16_t>(value);
    case ElementType::kUInt16:
      return static_cast<uint16_t>(value);
    case ElementType::kInt32:
      return static_cast<int32_t>(value);
    case ElementType::kUInt32:
      return static_cast<uint32_t>(value);
    default:
      return value;
  }
}

Result<int64_t> folded_integer(const NodeContext& c, size_t i, const char* what) {
  const OnnxValue* x = c.input(i);
  if (!x || !x->constant) return invalid_model(std::string(what) + " is missing");
  if (x->constant->is_float() || x->constant->size() != 1) {
    return invalid_model(std::string(what) + ": expected one integer, found " + to_string(x->constant->shape) + " " +
                         name(x->constant->type));
  }
  return x->constant->ints[0];
}

Result<Shape> broadcast_shape(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()), 1);
  for (size_t d = 0; d < out.size(); ++d) {
    const int64_t x = d + a.size() >= out.size() ? a[d + a.size() - out.size()] : 1;
    const int64_t y = d + b.size() >= out.size() ? b[d + b.size() - out.size()] : 1;
    if (x != y && x != 1 && y != 1) {
      return invalid_model("operands " + to_string(a) + " and " + to_string(b) + " do not broadcast");
    }
    out[d] = x == 1 ? y : x;
  }
  return out;
}

std::vector<int64_t> broadcast_steps(const Shape& from, const Shape& to) {
  std::vector<int64_t> steps(to.size(), 0);
  const std::vector<size_t> strides = row_major_strides(from);
  const size_t skipped = to.size() - from.size();
  for (size_t d = 0; d < from.size(); ++d) {
    if (from[d] != 1) steps[d + skipped] = static_cast<int64_t>(strides[d]);
  }
  return steps;
}

HostTensor picked(const HostTensor& x, Shape shape, Walk walk) {
  HostTensor out;
  out.type = x.type;
  out.source = x.source;
  const auto count = static_cast<size_t>(element_count(shape));
  out.shape = std::move(shape);
  if (count == 0) return out;
  if (x.is_float()) {
    out.floats.resize(count);
    float* to = out.floats.data();
    for (size_t i = 0; i < count; ++i, walk.next()) to[i] = x.floats.data()[walk.at()];
  } else {
    out.ints.resize(count);
    int64_t* to = out.ints.data();
    for (size_t i = 0; i < count; ++i, walk.next()) to[i] = x.ints.data()[walk.at()];
  }
  return out;
}

namespace {

Status fold_constant(NodeContext& c) {
  if (const auto* a = c.attribute("value"); a && a->has_t()) {
    Result<HostTensor> tensor = c.take_tensor_attribute("value");
    if (!tensor.ok()) return tensor.status();
    c.set_output(0, std::move(tensor).value());
  } else if (const auto* number = c.attribute("value_float"); number && number->has_f()) {
    c.set_output(0, folded_floats({}, {number->f()}));
  } else if (const auto* integer = c.attribute("value_int"); integer && integer->has_i()) {
    c.set_output(0, folded_integers({}, {integer->i()}));
  } else if (const auto* list = c.attribute("value_floats")) {
    c.set_output(0, folded_floats({list->floats_size()}, {list->floats().begin(), list->floats().end()}));
  } else if (const auto* whole = c.attribute("value_ints")) {
    c.set_output(0, folded_integers({whole->ints_size()}, {whole->ints().begin(), whole->ints().end()}));
  } else {
    return unsupported("expected a dense tensor, numbers or integers");
  }
  return {};
}

Shape shape_of(NodeContext& c, const OnnxValue& x) {
  return x.constant ? x.constant->shape : c.writer().shape(x.id);
}

Status fold_shape(NodeContext& c) {
  const Shape shape = shape_of(c, *c.input(0));
  if (c.op() == "Size") {
    c.set_output(0, folded_integers({}, {element_count(shape)}));
    return {};
  }
  const auto rank = static_cast<int64_t>(shape.size());
  auto clamp = [rank](int64_t v) {
    return std::clamp<int64_t>(v < 0 ? std::max<int64_t>(v, -rank) + rank : v, 0, rank);
  };
  const int64_t start = clamp(c.int_attribute("start", 0)), end = std::max(start, clamp(c.int_attribute("end", rank)));
  Shape part(shape.begin() + start, shape.begin() + end);
  const auto size = static_cast<int64_t>(part.size());
  c.set_output(0, folded_integers({size}, std::move(part)));
  return {};
}

void cast_to_float(const HostTensor& x, int64_t to, HostTensor* out) {
  using onnx_ns::TensorProto;
  if (!x.is_float()) {
    out->type = ElementType::kFloat32;
    out->floats.assign(x.ints.begin(), x.ints.end());
    out->ints.clear();
  }
  if (to != TensorProto::FLOAT16 && to != TensorProto::BFLOAT16) return;
  for (float& value : out->floats) {
    value = to == TensorProto::FLOAT16 ? round_to_half(value) : round_to_bfloat16(value);
  }
}

void cast_to_integer(const HostTensor& x, ElementType type, HostTensor* out) {
  out->type = type;
  const size_t count = x.size();
  Elements<int64_t> values;
  values.resize(count);
  int64_t* to = values.data();
  for (size_t i = 0; i < count; ++i) {
    if (!x.is_float()) {
      to[i] = wrapped(type, x.ints.data()[i]);
      continue;
    }
    const float value = x.floats.data()[i];
    const bool fits = std::isfinite(value) && std::fabs(value) < 9e18f;
    to[i] = type == ElementType::kBool ? (value != 0.f ? 1 : 0) : fits ? wrapped(type, static_cast<int64_t>(value)) : 0;
  }
  out->ints = std::move(values);
  out->floats.clear();
}

Status fold_cast(NodeContext& c) {
  using onnx_ns::TensorProto;
  const HostTensor& x = *c.input(0)->constant;
  HostTensor out = x;
  const int64_t to = c.int_attribute("to", 0);
  static const struct {
    int64_t to;
    ElementType type;
  } kIntegers[] = {{TensorProto::INT64, ElementType::kInt64},   {TensorProto::INT32, ElementType::kInt32},
                   {TensorProto::INT16, ElementType::kInt16},   {TensorProto::INT8, ElementType::kInt8},
                   {TensorProto::UINT64, ElementType::kUInt64}, {TensorProto::UINT32, ElementType::kUInt32},
                   {TensorProto::UINT16, ElementType::kUInt16}, {TensorProto::UINT8, ElementType::kUInt8},
                   {TensorProto::BOOL, ElementType::kBool}};
  const auto* row =
      std::find_if(std::begin(kIntegers), std::end(kIntegers), [to](const auto& r) { return r.to == to; });
  if (row != std::end(kIntegers)) {
    cast_to_integer(x, row->type, &out);
  } else if (to == TensorProto::FLOAT || to == TensorProto::DOUBLE || to == TensorProto::FLOAT16 ||
             to == TensorProto::BFLOAT16) {
    cast_to_float(x, to, &out);
  } else {
    return unsupported("a constant is cast to " +
                       onnx_type_name(static_cast<int32_t>(std::clamp<int64_t>(to, 0, 999))) +
                       ": expected floats, integers or booleans");
  }
  c.set_output(0, std::move(out));
  return {};
}

Status fold_constant_of_shape(NodeContext& c) {
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int64_t> dims, c.ints(0, "shape"));
  HostTensor one = folded_floats({1}, {0.f});
  if (const auto* a = c.attribute("value"); a && a->has_t()) {
    Result<HostTensor> tensor = c.take_tensor_attribute("value");
    if (!tensor.ok()) return tensor.status();
    one = std::move(tensor).value();
  }
  if (one.size() != 1 || element_count(dims) < 0) return invalid_model("shape " + to_string(dims));
  SPARSENET_RETURN_IF_ERROR(check_folded(dims));
  const auto count = static_cast<size_t>(element_count(dims));
  one.shape = dims;
  if (one.is_float()) {
    one.floats.assign(count, one.floats.data()[0]);
  } else {
    one.ints.assign(count, one.ints.data()[0]);
  }
  c.set_output(0, std::move(one));
  return {};
}

Status fold_integer_range(NodeContext& c) {
  SPARSENET_ASSIGN_OR_RETURN(const int64_t start, folded_integer(c, 0, "start"));
  SPARSENET_ASSIGN_OR_RETURN(const int64_t limit, folded_integer(c, 1, "limit"));
  SPARSENET_ASSIGN_OR_RETURN(const int64_t delta, folded_integer(c, 2, "delta"));
  if (delta == 0) return invalid_model("delta: expected another number than 0");
  uint64_t count = 0;  // unsigned: the distance of two numbers may be more than an int64 holds
  if (delta > 0 ? limit > start : limit < start) {
    const auto from = static_cast<uint64_t>(start), to = static_cast<uint64_t>(limit);
    const uint64_t distance = delta > 0 ? to - from : from - to;
    const uint64_t step = delta > 0 ? static_cast<uint64_t>(delta) : 0 - static_cast<uint64_t>(delta);
    count = (distance - 1) / step + 1;
  }
  if (count > static_cast<uint64_t>(kMostFolded)) return unsupported("a constant with too many elements");
  Elements<int64_t> values;
  values.resize(static_cast<size_t>(count));
  for (uint64_t i = 0; i < count; ++i) {
    values.data()[i] = static_cast<int64_t>(static_cast<uint64_t>(start) + i * static_cast<uint64_t>(delta));
  }
  const Shape shape{static_cast<int64_t>(count)};
  c.set_output(0, folded_integers(shape, std::move(values)));
  return {};
}

Status fold_range(NodeContext& c) {
  if (!c.input(0)->constant->is_float()) return fold_integer_range(c);
  SPARSENET_ASSIGN_OR_RETURN(const float start, c.scalar(0, "start"));
  SPARSENET_ASSIGN_OR_RETURN(const float limit, c.scalar(1, "limit"));
  SPARSENET_ASSIGN_OR_RETURN(const float delta, c.scalar(2, "delta"));
  const double exact =
      std::ceil((static_cast<double>(limit) - static_cast<double>(start)) / static_cast<double>(delta));
  if (!(exact <= static_cast<double>(kMostFolded))) return unsupported("a constant with too many elements");
  const auto count = static_cast<size_t>(std::max(exact, 0.0));
  Elements<float> values;
  values.resize(count);
  for (size_t i = 0; i < count; ++i) values.data()[i] = start + static_cast<float>(i) * delta;
  c.set_output(0, folded_floats({static_cast<int64_t>(count)}, std::move(values)));
  return {};
}

Status fold_identity(NodeContext& c) {
  c.alias_output(0, 0);
  return {};
}

struct FoldedOperator {
  const char* op;
  size_t least_inputs;
  Status (*fold)(NodeContext&);
};

const FoldedOperator* find_folded(const std::string& op) {
  static const FoldedOperator kRows[] = {
      {"ConstantOfShape", 1, fold_constant_of_shape},
      {"Range", 3, fold_range},
      {"Cast", 1, fold_cast},
      {"Identity", 1, fold_identity},
      {"Reshape", 2, fold_reshape},
      {"Flatten", 1, fold_reshape},
      {"Squeeze", 1, fold_reshape},
      {"Unsqueeze", 1, fold_reshape},
      {"Transpose", 1, fold_transpose},
      {"Concat", 1, fold_concat},
      {"Gather", 2, fold_gather},
      {"Slice", 1, fold_slice},
      {"Split", 1, fold_split},
      {"Expand", 2, fold_expand},
      {"Tile", 2, fold_tile},
      {"ScatterND", 3, fold_scatter_nd},
      {"NonZero", 1, fold_non_zero},
      {"Where", 3, fold_where},
      {"Clip", 1, fold_clip},
      {"Pad", 1, fold_pad},
      {"MatMul", 2, fold_matmul},
      {"CumSum", 2, fold_cumulative},
      {"BatchNormalization", 5, fold_batch_norm},
      {"DequantizeLinear", 2, fold_dequantize},
      {"QuantizeLinear", 2, fold_quantize},
  };
  const auto* row = std::find_if(std::begin(kRows), std::end(kRows), [&op](const auto& r) { return op == r.op; });
  if (row != std::end(kRows)) return row;
  static const FoldedOperator kArithmeticRow{"", 1, fold_arithmetic}, kUnaryRow{"", 1, fold_unary},
      kReductionRow{"", 1, fold_reduce};
  if (folds_arithmetic(op)) return &kArithmeticRow;
  if (folds_unary(op)) return &kUnaryRow;
  return folds_reduction(op) ? &kReductionRow : nullptr;
}

Status charge_inputs(NodeContext& c) {
  uint64_t elements = 0;
  for (size_t i = 0; i < c.input_count(); ++i) {
    if (c.has_input(i)) elements += c.input(i)->constant->size();
  }
  return charge_folding(c, elements);
}

// Operators whose result shares the elements of their input.
bool shares_elements(const FoldedOperator& row) {
  return row.fold == fold_reshape || row.fold == fold_identity;
}

}  // namespace

bool fold_constants(NodeContext& c, Status* status) {
  const std::string& op = c.op();
  if (op == "Constant") {
    *status = fold_constant(c);
    return true;
  }
  const OnnxValue* first = c.input(0);
  if ((op == "Shape" || op == "Size") && first && !first->unknown()) {
    *status = fold_shape(c);
    return true;
  }
  if (c.input_count() == 0 || !c.all_inputs_constant() || !first || !first->constant) return false;
  const FoldedOperator* row = find_folded(op);
  if (!row) return false;
  for (size_t i = 0; i < row->least_inputs; ++i) {
    if (c.has_input(i)) continue;
    *status = invalid_model("input " + std::to_string(i) + " is missing");
    return true;
  }
  *status = shares_elements(*row) ? Status() : charge_inputs(c);
  if (status->ok()) *status = row->fold(c);
  return true;
}

}  // namespace sparsenet::converter

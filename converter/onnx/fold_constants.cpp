// Nodes that can be evaluated during the import: Constant, Shape, and arithmetic on constants, mainly the chains with
// which exporters compute the target of a Reshape.
#include <algorithm>
#include <cmath>

#include "converter/onnx/node_context.h"
#include "converter/onnx/shape_math.h"

namespace sparsenet::converter {
namespace {

constexpr int64_t kMaxElements = int64_t{1} << 26;  // of a folded result; larger ones are not constants of a classifier

HostTensor integers(Shape shape, Elements<int64_t> values) {
  HostTensor out;
  out.type = ElementType::kInt64;
  out.shape = std::move(shape);
  out.ints = std::move(values);
  return out;
}

HostTensor floats(Shape shape, Elements<float> values) {
  HostTensor out;
  out.shape = std::move(shape);
  out.floats = std::move(values);
  return out;
}

Status fold_constant(NodeContext& c) {
  if (const auto* a = c.attribute("value"); a && a->has_t()) {
    Result<HostTensor> tensor = c.take_tensor_attribute("value");
    if (!tensor.ok()) return tensor.status();
    c.set_output(0, std::move(tensor).value());
  } else if (const auto* number = c.attribute("value_float"); number && number->has_f()) {
    c.set_output(0, floats({}, {number->f()}));
  } else if (const auto* integer = c.attribute("value_int"); integer && integer->has_i()) {
    c.set_output(0, integers({}, {integer->i()}));
  } else if (const auto* list = c.attribute("value_floats")) {
    c.set_output(0, floats({list->floats_size()}, {list->floats().begin(), list->floats().end()}));
  } else if (const auto* whole = c.attribute("value_ints")) {
    c.set_output(0, integers({whole->ints_size()}, {whole->ints().begin(), whole->ints().end()}));
  } else {
    return unsupported("expected a dense tensor, numbers or integers");
  }
  return {};
}

Status fold_shape(NodeContext& c) {
  const OnnxValue* x = c.input(0);
  const Shape shape = x->constant ? x->constant->shape : c.writer().shape(x->id);
  const auto rank = static_cast<int64_t>(shape.size());
  auto clamp = [rank](int64_t v) {
    return std::clamp<int64_t>(v < 0 ? std::max<int64_t>(v, -rank) + rank : v, 0, rank);
  };
  const int64_t start = clamp(c.int_attribute("start", 0)), end = std::max(start, clamp(c.int_attribute("end", rank)));
  Shape part(shape.begin() + start, shape.begin() + end);
  const auto size = static_cast<int64_t>(part.size());
  c.set_output(0, integers({size}, std::move(part)));
  return {};
}

Status fold_cast(NodeContext& c, const HostTensor& x) {
  using onnx_ns::TensorProto;
  HostTensor out = x;
  const int64_t to = c.int_attribute("to", 0);
  switch (to) {
    case TensorProto::FLOAT:
    case TensorProto::DOUBLE:
    case TensorProto::FLOAT16:
    case TensorProto::BFLOAT16:
      if (!x.is_float()) {
        out.type = ElementType::kFloat32;
        out.floats.assign(x.ints.begin(), x.ints.end());
        out.ints.clear();
      }
      for (float& value : out.floats) {
        if (to == TensorProto::FLOAT16) value = round_to_half(value);
        if (to == TensorProto::BFLOAT16) value = round_to_bfloat16(value);
      }
      break;
    case TensorProto::INT64:
    case TensorProto::INT32:
      if (x.is_float()) {
        out.type = ElementType::kInt64;
        for (float value : x.floats) {
          out.ints.push_back(std::isfinite(value) && std::fabs(value) < 9e18f ? static_cast<int64_t>(value) : 0);
        }
        out.floats.clear();
      }
      break;
    default:
      return unsupported("constant cast to another type than float or integer");
  }
  c.set_output(0, std::move(out));
  return {};
}

Status fold_reshape(NodeContext& c, const HostTensor& x) {
  Result<Shape> target = x.shape;
  if (c.op() == "Reshape") {
    SPARSENET_ASSIGN_OR_RETURN(std::vector<int64_t> dims, c.ints(1, "shape"));
    target = reshaped(x.shape, dims, c.int_attribute("allowzero", 0) != 0);
  } else if (c.op() == "Flatten") {
    target = flattened(x.shape, c.int_attribute("axis", 1));
  } else {
    std::vector<int64_t> axes = c.ints_attribute("axes");
    if (c.has_input(1)) {
      SPARSENET_ASSIGN_OR_RETURN(axes, c.ints(1, "axes"));
    }
    if (c.op() == "Unsqueeze") {
      target = unsqueezed(x.shape, axes);
    } else {
      if (axes.empty()) {
        for (size_t d = 0; d < x.shape.size(); ++d) {
          if (x.shape[d] == 1) axes.push_back(static_cast<int64_t>(d));
        }
      }
      target = squeezed(x.shape, axes);
    }
  }
  if (!target.ok()) return target.status();
  HostTensor out = x;
  out.shape = *target;
  out.change = "reshaped";
  c.set_output(0, std::move(out));
  return {};
}

Status fold_concat(NodeContext& c) {
  HostTensor out = *c.input(0)->constant;
  for (size_t i = 1; i < c.input_count(); ++i) {
    const HostTensor& x = *c.input(i)->constant;
    if (x.shape.size() != 1 || out.shape.size() != 1 || x.is_float() != out.is_float()) {
      return unsupported("constants of rank other than 1 are concatenated");
    }
    out.floats.insert(out.floats.end(), x.floats.begin(), x.floats.end());
    out.ints.insert(out.ints.end(), x.ints.begin(), x.ints.end());
    out.shape[0] += x.shape[0];
    if (out.shape[0] > kMaxElements) return unsupported("a constant with too many elements");
  }
  out.source.clear();
  c.set_output(0, std::move(out));
  return {};
}

// Picks elements of a list of integers, by one index or by a list of indices.
Status fold_gather(NodeContext& c, const HostTensor& x) {
  const HostTensor& indices = *c.input(1)->constant;
  if (indices.is_float()) return invalid_model("indices: expected integers, found floats");
  if (x.is_float() || x.shape.size() != 1) return unsupported("expected a constant list of integers");
  Elements<int64_t> out;
  for (const int64_t index : indices.ints) {
    Result<int32_t> at = normalize_axis(index, x.ints.size());
    if (!at.ok()) return invalid_model("index " + std::to_string(index) + " of " + std::to_string(x.ints.size()));
    out.push_back(x.ints[static_cast<size_t>(*at)]);
  }
  c.set_output(0, integers(indices.shape, std::move(out)));
  return {};
}

Status fold_slice(NodeContext& c, const HostTensor& x) {
  SliceRequest request;
  SPARSENET_RETURN_IF_ERROR(read_slice(c, &request));
  if (x.is_float() || x.shape.size() != 1 || request.starts.size() != 1 || request.steps[0] < 1) {
    return unsupported("expected a constant list of integers and a positive step");
  }
  const int64_t size = x.shape[0];
  auto clamp = [size](int64_t v) {
    return std::clamp<int64_t>(v < 0 ? std::max<int64_t>(v, -size) + size : v, 0, size);
  };
  Elements<int64_t> out;
  const int64_t end = clamp(request.ends[0]);
  for (int64_t i = clamp(request.starts[0]); i < end; i += std::min(request.steps[0], size)) {
    out.push_back(x.ints[static_cast<size_t>(i)]);
  }
  const auto count = static_cast<int64_t>(out.size());
  c.set_output(0, integers({count}, std::move(out)));
  return {};
}

Status fold_binary(NodeContext& c) {
  const HostTensor& a = *c.input(0)->constant;
  const HostTensor& b = *c.input(1)->constant;
  if (a.is_float() != b.is_float()) return invalid_model("operands of different types");
  const size_t rank = std::max(a.shape.size(), b.shape.size());
  Shape shape(rank, 1);
  std::vector<size_t> step_a(rank, 0), step_b(rank, 0);
  const std::vector<size_t> strides_a = row_major_strides(a.shape), strides_b = row_major_strides(b.shape);
  for (size_t d = 0; d < rank; ++d) {
    const bool in_a = d + a.shape.size() >= rank, in_b = d + b.shape.size() >= rank;
    const size_t at_a = d + a.shape.size() - rank, at_b = d + b.shape.size() - rank;
    const int64_t x = in_a ? a.shape[at_a] : 1, y = in_b ? b.shape[at_b] : 1;
    if (x != y && x != 1 && y != 1)
      return invalid_model("operands " + to_string(a.shape) + " and " + to_string(b.shape) + " do not broadcast");
    shape[d] = x == 1 ? y : x;
    if (in_a && x != 1) step_a[d] = strides_a[at_a];
    if (in_b && y != 1) step_b[d] = strides_b[at_b];
  }
  const int64_t count = element_count(shape);
  if (count < 0 || count > kMaxElements) return unsupported("a constant with too many elements");
  HostTensor out;
  out.type = a.is_float() ? ElementType::kFloat32 : ElementType::kInt64;
  out.shape = shape;
  const char kind = c.op()[0];  // Add, Sub, Mul, Div
  (a.is_float() ? out.floats.reserve(static_cast<size_t>(count)) : out.ints.reserve(static_cast<size_t>(count)));
  std::vector<int64_t> index(rank, 0);
  size_t at_a = 0, at_b = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (a.is_float()) {
      const float x = a.floats[at_a], y = b.floats[at_b];
      out.floats.push_back(kind == 'A' ? x + y : kind == 'S' ? x - y : kind == 'M' ? x * y : x / y);
    } else {
      // Computed unsigned, so that hostile numbers wrap instead of overflowing; the results are checked wherever they
      // are used.
      const int64_t x = a.ints[at_a], y = b.ints[at_b];
      const auto ux = static_cast<uint64_t>(x), uy = static_cast<uint64_t>(y);
      if (kind == 'D' && (y == 0 || y == -1)) {
        out.ints.push_back(y == 0 ? 0 : static_cast<int64_t>(0 - ux));
      } else {
        out.ints.push_back(kind == 'D' ? x / y
                                       : static_cast<int64_t>(kind == 'A'   ? ux + uy
                                                              : kind == 'S' ? ux - uy
                                                                            : ux * uy));
      }
    }
    for (size_t d = rank; d-- > 0;) {
      at_a += step_a[d];
      at_b += step_b[d];
      if (++index[d] < shape[d]) break;
      at_a -= step_a[d] * static_cast<size_t>(shape[d]);
      at_b -= step_b[d] * static_cast<size_t>(shape[d]);
      index[d] = 0;
    }
  }
  out.source = a.size() >= b.size() ? a.source : b.source;
  out.change = "folded with " + std::string(c.op());
  c.set_output(0, std::move(out));
  return {};
}

Status fold_unary(NodeContext& c, const HostTensor& x) {
  HostTensor out = x;
  if (c.op() == "Neg") {
    for (float& v : out.floats) v = -v;
    for (int64_t& v : out.ints) v = static_cast<int64_t>(0 - static_cast<uint64_t>(v));
  } else {
    if (!x.is_float()) return unsupported("expected a float constant");
    for (float& v : out.floats) v = c.op() == "Sqrt" ? std::sqrt(v) : 1.f / v;
  }
  out.change = "folded with " + c.op();
  c.set_output(0, std::move(out));
  return {};
}

Status fold_constant_of_shape(NodeContext& c) {
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int64_t> dims, c.ints(0, "shape"));
  HostTensor one = floats({1}, {0.f});
  if (const auto* a = c.attribute("value"); a && a->has_t()) {
    Result<HostTensor> tensor = c.take_tensor_attribute("value");
    if (!tensor.ok()) return tensor.status();
    one = std::move(tensor).value();
  }
  const int64_t count = element_count(dims);
  if (one.size() != 1 || count < 0 || count > kMaxElements || dims.size() > 8)
    return invalid_model("shape " + to_string(dims));
  one.shape = dims;
  if (one.is_float()) {
    one.floats.assign(static_cast<size_t>(count), one.floats[0]);
  } else {
    one.ints.assign(static_cast<size_t>(count), one.ints[0]);
  }
  c.set_output(0, std::move(one));
  return {};
}

}  // namespace

bool fold_constants(NodeContext& c, Status* status) {
  const std::string& op = c.op();
  if (op == "Constant") {
    *status = fold_constant(c);
    return true;
  }
  const OnnxValue* first = c.input(0);
  if (op == "Shape" && first && !first->unknown()) {
    *status = fold_shape(c);
    return true;
  }
  if (c.input_count() == 0 || !c.all_inputs_constant() || !first || !first->constant) return false;
  const HostTensor& x = *first->constant;
  if (op == "ConstantOfShape") {
    *status = fold_constant_of_shape(c);
  } else if (op == "Cast") {
    *status = fold_cast(c, x);
  } else if (op == "Reshape" || op == "Flatten" || op == "Squeeze" || op == "Unsqueeze") {
    *status = fold_reshape(c, x);
  } else if (op == "Concat") {
    *status = fold_concat(c);
  } else if (op == "Gather") {
    *status = fold_gather(c, x);
  } else if (op == "Slice") {
    *status = fold_slice(c, x);
  } else if (op == "Transpose") {
    Result<std::vector<int32_t>> perm = read_perm(c.ints_attribute("perm"), x.shape.size());
    *status = perm.status();
    if (perm.ok()) c.set_output(0, transposed(x, *perm));
  } else if ((op == "Add" || op == "Sub" || op == "Mul" || op == "Div") && c.input_count() == 2) {
    *status = fold_binary(c);
  } else if (op == "Neg" || op == "Sqrt" || op == "Reciprocal") {
    *status = fold_unary(c, x);
  } else {
    return false;
  }
  return true;
}

}  // namespace sparsenet::converter

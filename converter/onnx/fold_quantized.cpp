// Constant folding: quantisation of constants, and weights stored as integers.
#include <algorithm>
#include <cmath>

#include "converter/onnx/fold.h"
#include "converter/onnx/quantized.h"

namespace sparsenet::converter {
namespace {

// The tensor that an operator reads as one number, or as one for each index along an axis of another.
Result<HostTensorPtr> per_axis(NodeContext& c, size_t i, const char* what, int64_t size) {
  const HostTensorPtr tensor = c.input(i)->constant;
  if (tensor->size() == 1 || (tensor->shape.size() == 1 && tensor->shape[0] == size)) return tensor;
  return invalid_model(std::string(what) + ": expected one number or " + std::to_string(size) + ", found " +
                       to_string(tensor->shape));
}

// The scales and zero points of a constant, and which of them an element has.
struct PerElement {
  HostTensorPtr scale, zero;
  size_t axis = 0, inner = 1, size = 1;

  size_t index(size_t element) const { return element / inner % size; }
  float scale_of(size_t element) const { return scale->floats.data()[scale->size() == 1 ? 0 : index(element)]; }
  int64_t zero_of(size_t element) const {
    return !zero ? 0 : zero->ints.data()[zero->size() == 1 ? 0 : index(element)];
  }
};

Result<PerElement> read_per_element(NodeContext& c, const Shape& shape) {
  if (c.int_attribute("block_size", 0) != 0) return unsupported("block_size: expected one scale per tensor or channel");
  PerElement p;
  if (c.input(1)->constant->size() != 1) {
    SPARSENET_ASSIGN_OR_RETURN(const int32_t normal, normalize_axis(c.int_attribute("axis", 1), shape.size()));
    p.axis = static_cast<size_t>(normal);
    p.size = static_cast<size_t>(shape[p.axis]);
    p.inner = row_major_strides(shape)[p.axis];
  }
  SPARSENET_ASSIGN_OR_RETURN(p.scale, per_axis(c, 1, "scale", static_cast<int64_t>(p.size)));
  if (!p.scale->is_float()) return invalid_model("scale: expected floats, found " + std::string(name(p.scale->type)));
  if (c.has_input(2)) {
    SPARSENET_ASSIGN_OR_RETURN(p.zero, per_axis(c, 2, "zero point", static_cast<int64_t>(p.size)));
    if (p.zero->is_float()) return invalid_model("zero point: expected integers, found floats");
  }
  return p;
}

// Keeps the integers less their zero points beside the floats, where int8 holds them all.
void keep_integers_of(const HostTensor& x, const PerElement& p, HostTensor* out) {
  if (x.size() == 0 || (x.type != ElementType::kInt8 && x.type != ElementType::kUInt8)) return;
  auto weights = std::make_shared<IntegerWeights>();
  weights->values.resize(x.size());
  int8_t* to = weights->values.data();
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t integer = x.ints.data()[i] - p.zero_of(i);
    if (integer < -128 || integer > 127) return;
    to[i] = static_cast<int8_t>(integer);
  }
  weights->floats = out->floats;
  weights->scales = p.scale->floats;
  weights->axis = static_cast<int32_t>(p.axis);
  out->weights = std::move(weights);
}

}  // namespace

Status fold_dequantize(NodeContext& c) {
  const HostTensorPtr held = c.input(0)->constant;
  const HostTensor& x = *held;
  if (x.is_float()) return invalid_model("input: expected integers, found " + std::string(name(x.type)));
  SPARSENET_ASSIGN_OR_RETURN(const PerElement p, read_per_element(c, x.shape));
  HostTensor out = folded_floats(x.shape, {});
  out.source = x.source;
  out.floats.resize(x.size());
  float* to = x.size() > 0 ? out.floats.data() : nullptr;
  for (size_t i = 0; i < x.size(); ++i) {
    const auto whole =
        static_cast<int64_t>(static_cast<uint64_t>(x.ints.data()[i]) - static_cast<uint64_t>(p.zero_of(i)));
    to[i] = static_cast<float>(whole) * p.scale_of(i);
  }
  out.change = "dequantised";
  keep_integers_of(x, p, &out);
  c.set_output(0, std::move(out));
  return {};
}

// Ties go to the even integer.
Status fold_quantize(NodeContext& c) {
  const HostTensor& x = *c.input(0)->constant;
  if (!x.is_float()) return invalid_model("input: expected floats, found " + std::string(name(x.type)));
  SPARSENET_ASSIGN_OR_RETURN(const PerElement p, read_per_element(c, x.shape));
  SPARSENET_ASSIGN_OR_RETURN(const ElementType type, quantized_type(c));
  const double low = type == ElementType::kInt8 ? -128 : 0, high = type == ElementType::kInt8 ? 127 : 255;
  HostTensor out;
  out.type = type;
  out.shape = x.shape;
  out.source = x.source;
  out.change = "quantised";
  out.ints.resize(x.size());
  int64_t* to = x.size() > 0 ? out.ints.data() : nullptr;
  for (size_t i = 0; i < x.size(); ++i) {
    const float scaled = x.floats.data()[i] / p.scale_of(i);
    if (std::isnan(scaled)) return unsupported("element " + std::to_string(i) + " over its scale is not a number");
    const double integer = static_cast<double>(std::nearbyint(scaled)) + static_cast<double>(p.zero_of(i));
    to[i] = static_cast<int64_t>(std::clamp(integer, low, high));
  }
  c.set_output(0, std::move(out));
  return {};
}

}  // namespace sparsenet::converter

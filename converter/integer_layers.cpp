// Weights and biases of convolutions and fully connected layers that compute with integers.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "converter/integer_graph.h"

namespace sparsenet::converter {
namespace {

template <class T>
Tensor integer_tensor(DataType type, const Shape& shape, std::vector<T> values) {
  Tensor out;
  out.type = type;
  out.shape = shape;
  auto owner = std::make_shared<std::vector<T>>(std::move(values));
  out.data = owner->data();
  out.owner = std::move(owner);
  return out;
}

bool is_scale(float scale) {
  return scale > 0.f && std::isfinite(scale);
}

std::string quoted(const Value& value) {
  return "'" + printable(value.name) + "'";
}

}  // namespace

bool fits_multiplier(double largest_sum, double factor) {
  constexpr double kMost = 2147483647., kMostFactor = 1 << 29;
  return factor < kMostFactor && largest_sum <= kMost && largest_sum * factor <= kMost;
}

std::string make_integer_layer(const Graph& graph, const Node& node, const IntegerWeights* weights,
                               const Quantization& in, const Quantization& out, IntegerLayer* layer) {
  const Value& weight = graph.value(node.inputs[1]);
  if (!weights || !weight.is_constant || static_cast<int64_t>(weights->values.size()) != element_count(weight.shape)) {
    return "its weight " + quoted(weight) +
           " is no constant of int8 or uint8 that is within -128 to 127 of its zero point";
  }
  const std::vector<float>& scales = weights->scales;
  const auto outputs = static_cast<size_t>(weight.shape[0]);
  if (scales.size() != 1 && (weights->axis != 0 || scales.size() != outputs)) {
    return "its weight " + quoted(weight) + " has several scales that are not one for each output";
  }
  if (!std::all_of(scales.begin(), scales.end(), is_scale)) {
    return "its weight " + quoted(weight) + " has a scale that is not a positive number";
  }
  const Value* bias = node.inputs.size() > 2 && node.inputs[2] != kNoValue ? &graph.value(node.inputs[2]) : nullptr;
  if (bias &&
      (!bias->is_constant || bias->type != DataType::kFloat32 || bias->constant.elements() != weight.shape[0])) {
    return "its bias " + quoted(*bias) + " is not a constant with a number for each output";
  }
  const int8_t* values = weights->values.data();
  const size_t each = weights->values.size() / outputs;
  const auto in_scale = static_cast<double>(in.scales[0]);
  const double farthest = std::max(127 - in.zero_points[0], in.zero_points[0] + 128);
  std::vector<int32_t> biases(bias ? outputs : 0);
  for (size_t o = 0; o < outputs; ++o) {
    const double unit = in_scale * static_cast<double>(scales[scales.size() > 1 ? o : 0]);
    double sum = 0, added = 0;
    for (size_t i = 0; i < each; ++i) sum += std::abs(int{values[o * each + i]});
    if (bias) added = std::nearbyint(static_cast<double>(bias->constant.f32()[o]) / unit);
    // Also false for what is not a number.
    if (!(std::fabs(added) <= 2147483647.)) return "its bias " + quoted(*bias) + " leaves 32 bits at the layer's scale";
    if (bias) biases[o] = static_cast<int32_t>(added);
    if (!fits_multiplier(sum * farthest + std::fabs(added), unit / static_cast<double>(out.scales[0]))) {
      return "its sums may leave 32 bits";
    }
  }
  layer->weight = integer_tensor<int8_t>(DataType::kInt8, weight.shape, {values, values + weights->values.size()});
  layer->weight_quantization = {scales, std::vector<int32_t>(scales.size(), 0), 0};
  layer->bias = {};
  if (bias) layer->bias = integer_tensor<int32_t>(DataType::kInt32, {weight.shape[0]}, std::move(biases));
  return "";
}

}  // namespace sparsenet::converter

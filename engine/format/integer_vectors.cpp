#include "format/integer_vectors.h"

#include <sparsenet/deploy.h>

#include <cmath>
#include <cstring>

#include "runtime/port_affine.h"

namespace sparsenet {
namespace {

// The device's own arithmetic.
rt::PortAffine affine_of(const Quantization& quantization) {
  return {quantization.scales[0], quantization.zero_points[0]};
}

int8_t nearest(float number, const rt::PortAffine& affine) {
  return static_cast<int8_t>(affine.integer(number, -128, 127));
}

}  // namespace

const Quantization* quantization_of_input(const Graph& graph, ValueId input) {
  if (graph.value(input).type != DataType::kFloat32) return nullptr;
  for (const Node& node : graph.nodes) {
    if (node.op != Op::kQuantize || node.inputs[0] != input) continue;
    const Value& out = graph.value(node.outputs[0]);
    const Quantization& q = out.quantization;
    const bool one = out.type == DataType::kInt8 && q.scales.size() == 1 && q.zero_points.size() == 1;
    if (!one || !std::isfinite(q.scales[0]) || q.scales[0] <= 0.f) return nullptr;
    return q.zero_points[0] >= -128 && q.zero_points[0] <= 127 ? &q : nullptr;
  }
  return nullptr;
}

std::vector<int8_t> integers_of(const Tensor& numbers, const Quantization& quantization) {
  const rt::PortAffine affine = affine_of(quantization);
  std::vector<int8_t> integers(static_cast<size_t>(numbers.elements()));
  for (size_t i = 0; i < integers.size(); ++i) {
    const float number = numbers.f32()[i];
    integers[i] = nearest(number, affine);
    const float again = affine.real(integers[i]);
    if (std::memcmp(&again, &number, sizeof number) != 0) return {};
  }
  return integers;
}

Tensor numbers_of(const Tensor& integers, const Quantization& quantization) {
  const rt::PortAffine affine = affine_of(quantization);
  std::vector<float> numbers(static_cast<size_t>(integers.elements()));
  const auto widen = [&](auto* from) {
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = affine.real(from[i]);
  };
  integers.type == DataType::kUInt8 ? widen(static_cast<const uint8_t*>(integers.data))
                                    : widen(static_cast<const int8_t*>(integers.data));
  return Tensor::from(integers.shape, std::move(numbers));
}

Status round_inputs(const Graph& graph, TestVector* vector) {
  if (vector->inputs.size() != graph.inputs.size()) {
    return invalid_argument("test vector: expected " + std::to_string(graph.inputs.size()) + " inputs, found " +
                            std::to_string(vector->inputs.size()));
  }
  for (size_t i = 0; i < vector->inputs.size(); ++i) {
    const Quantization* q = quantization_of_input(graph, graph.inputs[i]);
    Tensor& input = vector->inputs[i];
    if (!q || input.type != DataType::kFloat32) continue;
    const rt::PortAffine affine = affine_of(*q);
    std::vector<float> rounded(input.f32(), input.f32() + input.elements());
    for (float& number : rounded) number = affine.real(nearest(number, affine));
    input = Tensor::from(input.shape, std::move(rounded));
  }
  return {};
}

}  // namespace sparsenet

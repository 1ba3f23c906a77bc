#include "train/integer_layer.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <utility>

#include "runtime/fake_quantize.h"

namespace sparsenet {
namespace {

template <class T>
Tensor integer_tensor(DataType type, const Shape& shape, std::vector<T> values) {
  auto owner = std::make_shared<std::vector<T>>(std::move(values));
  const T* data = owner->data();
  return {type, shape, std::move(owner), data};
}

}  // namespace

std::vector<double> weight_scales(const Quantization& weight, int64_t outputs) {
  std::vector<double> scales(weight.scales.begin(), weight.scales.end());
  scales.resize(static_cast<size_t>(outputs), scales[0]);
  return scales;
}

Tensor real_weight(const Tensor& integers, const std::vector<double>& scales) {
  const auto* from = static_cast<const int8_t*>(integers.data);
  std::vector<float> numbers(static_cast<size_t>(integers.elements()));
  const size_t length = numbers.size() / scales.size();
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(from[i] * scales[i / length]);
  return Tensor::from(integers.shape, std::move(numbers));
}

Tensor real_bias(const Tensor& integers, double input_scale, const std::vector<double>& scales) {
  const auto* from = static_cast<const int32_t*>(integers.data);
  std::vector<float> numbers(static_cast<size_t>(integers.elements()));
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(from[i] * (input_scale * scales[i]));
  return Tensor::from(integers.shape, std::move(numbers));
}

std::vector<float> most_of_rows(const Tensor& integers, size_t rows) {
  const auto* from = static_cast<const int8_t*>(integers.data);
  const size_t length = static_cast<size_t>(integers.elements()) / rows;
  std::vector<float> most(rows);
  for (size_t row = 0; row < rows; ++row) {
    int largest = 0;
    for (size_t i = row * length; i < (row + 1) * length; ++i) largest = std::max(largest, std::abs(int{from[i]}));
    most[row] = static_cast<float>(largest == 0 ? 127 : largest);
  }
  return most;
}

IntegerWeight integer_weight(const Tensor& numbers, const std::vector<float>& most, float unit,
                             const std::vector<double>& least) {
  const float* from = numbers.f32();
  std::vector<int8_t> integers(static_cast<size_t>(numbers.elements()));
  const size_t rows = most.size(), length = integers.size() / rows;
  IntegerWeight result;
  for (size_t row = 0; row < rows; ++row) {
    const size_t begin = row * length, end = begin + length;
    float largest = 0.f;
    for (size_t i = begin; i < end; ++i) largest = std::max(largest, std::abs(from[i]));
    float scale = rt::row_scale(largest, most[row]);  // as in the steps that simulate it
    if (static_cast<double>(scale) * static_cast<double>(unit) < least[row]) {
      scale = static_cast<float>(least[row] / static_cast<double>(unit));
    }
    for (size_t i = begin; i < end; ++i) integers[i] = static_cast<int8_t>(rt::integer_weight(from[i], scale));
    result.scales.push_back(scale * unit);
  }
  result.integers = integer_tensor(DataType::kInt8, numbers.shape, std::move(integers));
  return result;
}

bool integer_bias(const Tensor& numbers, double input_scale, const std::vector<double>& scales, Tensor* integers) {
  const float* from = numbers.f32();
  std::vector<int32_t> values(static_cast<size_t>(numbers.elements()));
  for (size_t i = 0; i < values.size(); ++i) {
    const double v = std::round(static_cast<double>(from[i]) / (input_scale * scales[i]));
    if (!(std::abs(v) <= 2147483647.)) return false;
    values[i] = static_cast<int32_t>(v);
  }
  *integers = integer_tensor(DataType::kInt32, numbers.shape, std::move(values));
  return true;
}

}  // namespace sparsenet

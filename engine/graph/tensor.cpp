#include <sparsenet/graph.h>
#include <sparsenet/half.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace sparsenet {

const char* name(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return "float32";
    case DataType::kInt32:
      return "int32";
    case DataType::kInt64:
      return "int64";
    case DataType::kUInt8:
      return "uint8";
    case DataType::kInt8:
      return "int8";
    case DataType::kFloat16:
      return "float16";
  }
  return "unknown";
}

size_t size_of(DataType type) {
  switch (type) {
    case DataType::kFloat32:
    case DataType::kInt32:
      return 4;
    case DataType::kFloat16:
      return 2;
    case DataType::kInt64:
      return 8;
    case DataType::kUInt8:
    case DataType::kInt8:
      return 1;
  }
  return 0;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (int64_t dim : shape) {
    if (dim < 0) return -1;
    if (dim != 0 && count > std::numeric_limits<int64_t>::max() / 16 / dim) return -1;
    count *= dim;
  }
  return count;
}

Tensor Tensor::from(Shape shape, std::vector<float> values) {
  auto storage = std::make_shared<std::vector<float>>(std::move(values));
  Tensor tensor;
  tensor.shape = std::move(shape);
  tensor.data = storage->data();
  tensor.owner = std::move(storage);
  return tensor;
}

Tensor Tensor::filled(Shape shape, float value) {
  const int64_t count = element_count(shape);
  return from(std::move(shape), std::vector<float>(static_cast<size_t>(count < 0 ? 0 : count), value));
}

std::vector<float> to_float32(const Tensor& tensor) {
  const auto count = static_cast<size_t>(tensor.elements());
  if (tensor.type != DataType::kFloat16) return std::vector<float>(tensor.f32(), tensor.f32() + count);
  std::vector<float> values(count);
  half_to_float(static_cast<const uint16_t*>(tensor.data), count, values.data());
  return values;
}

bool to_float16(const Tensor& tensor, Tensor* out) {
  const auto count = static_cast<size_t>(tensor.elements());
  auto storage = std::make_shared<std::vector<uint16_t>>(count);
  float largest = 0;
  for (size_t i = 0; i < count; ++i) {
    const float value = tensor.f32()[i];
    if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
    (*storage)[i] = float_to_half(value);
  }
  constexpr float kFirstInfinite = 65520.f;
  if (largest >= kFirstInfinite) return false;
  *out = {DataType::kFloat16, tensor.shape, storage, storage->data()};
  return true;
}

}  // namespace sparsenet

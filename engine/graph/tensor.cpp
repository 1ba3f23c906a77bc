#include <sparsenet/graph.h>

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
  }
  return "unknown";
}

size_t size_of(DataType type) {
  switch (type) {
    case DataType::kFloat32:
    case DataType::kInt32:
      return 4;
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

}  // namespace sparsenet

#include "io/session_tensors.h"

#include <memory>
#include <string>
#include <utility>

namespace sparsenet::io {

Status set_input(Session* session, size_t index, const Tensor& tensor) {
  const auto count = static_cast<size_t>(tensor.elements());
  switch (tensor.type) {
    case DataType::kInt8:
      return session->set_input(index, static_cast<const int8_t*>(tensor.data), count);
    case DataType::kUInt8:
      return session->set_input(index, static_cast<const uint8_t*>(tensor.data), count);
    case DataType::kFloat32:
      if (index >= session->inputs().size() || session->inputs()[index].type == DataType::kFloat32) {
        return session->set_input(index, tensor.f32(), count);
      }
      break;
    default:
      break;
  }
  const std::string input = index < session->inputs().size() ? " '" + session->inputs()[index].name + "'" : "";
  return invalid_argument("input" + input + ": expected elements of its own type, found " + name(tensor.type));
}

Result<Tensor> get_output(const Session& session, size_t index) {
  if (index >= session.outputs().size()) return invalid_argument("output " + std::to_string(index) + " does not exist");
  const TensorInfo& info = session.outputs()[index];
  const auto count = static_cast<size_t>(element_count(info.shape));
  if (info.type == DataType::kFloat32) {
    std::vector<float> values(count);
    SPARSENET_RETURN_IF_ERROR(session.get_output(index, values.data(), count));
    return Tensor::from(info.shape, std::move(values));
  }
  std::vector<uint8_t> bytes(count);
  if (info.type == DataType::kInt8) {
    SPARSENET_RETURN_IF_ERROR(session.get_output(index, reinterpret_cast<int8_t*>(bytes.data()), count));
  } else {
    SPARSENET_RETURN_IF_ERROR(session.get_output(index, bytes.data(), count));
  }
  return integer_tensor(info.type, info.shape, std::move(bytes));
}

Tensor integer_tensor(DataType type, Shape shape, std::vector<uint8_t> bytes) {
  const auto kept = std::make_shared<std::vector<uint8_t>>(std::move(bytes));
  return {type, std::move(shape), kept, kept->data()};
}

std::vector<float> numbers_of(const Tensor& tensor) {
  const auto count = static_cast<size_t>(tensor.elements());
  if (tensor.type == DataType::kFloat32) return {tensor.f32(), tensor.f32() + count};
  std::vector<float> numbers(count);
  for (size_t i = 0; i < count; ++i) {
    const uint8_t byte = static_cast<const uint8_t*>(tensor.data)[i];
    numbers[i] = tensor.type == DataType::kInt8 ? static_cast<float>(static_cast<int8_t>(byte)) : byte;
  }
  return numbers;
}

}  // namespace sparsenet::io

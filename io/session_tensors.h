// Inputs and outputs of sessions as tensors of their own type: float32, or the integers themselves.
#pragma once

#include <sparsenet/session.h>

#include <vector>

namespace sparsenet::io {

// kInvalidArgument if the tensor is of another type or size than the input.
Status set_input(Session* session, size_t index, const Tensor& tensor);
Result<Tensor> get_output(const Session& session, size_t index);

// A tensor of int8 or uint8.
Tensor integer_tensor(DataType type, Shape shape, std::vector<uint8_t> bytes);

// The elements of a tensor of float32, int8 or uint8.
std::vector<float> numbers_of(const Tensor& tensor);

}  // namespace sparsenet::io

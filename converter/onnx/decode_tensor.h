// TensorProto -> HostTensor.
#pragma once

#include <sparsenet/status.h>

#include <string>

#include "converter/host_tensor.h"
#include "converter/onnx/onnx_proto.h"

namespace sparsenet::converter {

// The name of a TensorProto.DataType as the specification writes it: "int64", "string".
std::string onnx_type_name(int32_t type);

// Decodes raw or typed data, from the file itself or, where `folder` is not empty, from a file beside it. The data is
// taken out of the message, which has none afterwards: float32 moves without a copy. Errors do not name the tensor: the
// caller does. Throws BudgetExceeded.
Result<HostTensor> take_tensor(onnx_ns::TensorProto* proto, const std::string& folder);

}  // namespace sparsenet::converter

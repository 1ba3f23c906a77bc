// TensorProto -> HostTensor.
#pragma once

#include <sparsenet/status.h>

#include <string>

#include "converter/host_tensor.h"
#include "converter/onnx/onnx_proto.h"

namespace sparsenet::converter {

// The name of a TensorProto.DataType as in the specification: "int64", "string".
std::string onnx_type_name(int32_t type);

// Decodes raw or typed data, from the file itself or, if `folder` is not empty, from a file beside it. The data is
// moved out of the message: float32 data is not copied. Errors do not name the tensor; the caller adds that. Throws
// BudgetExceeded.
Result<HostTensor> take_tensor(onnx_ns::TensorProto* proto, const std::string& folder);

}  // namespace sparsenet::converter

// The attributes and inputs that the specification allows for each imported operator.
#pragma once

#include <sparsenet/status.h>

#include "converter/onnx/onnx_proto.h"

namespace sparsenet::converter {

// An error if the node has an attribute that its operator does not have in this opset, or more inputs than the operator
// reads. Importers ignore anything they do not ask for, so such a node would silently compute something other than
// intended. Operators that are not imported are accepted.
Status check_against_specification(const onnx_ns::NodeProto& node, int64_t opset);

}  // namespace sparsenet::converter

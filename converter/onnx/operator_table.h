// What the specification lets a node of each imported operator have.
#pragma once

#include <sparsenet/status.h>

#include "converter/onnx/onnx_proto.h"

namespace sparsenet::converter {

// An error where the node has an attribute that its operator does not have at this opset, or more inputs than it reads.
// Importers pass over what they do not ask for, so such a node would quietly compute something else than was meant.
// Operators that are not imported are passed.
Status check_against_specification(const onnx_ns::NodeProto& node, int64_t opset);

}  // namespace sparsenet::converter

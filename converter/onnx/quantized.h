// Operators of quantised ONNX networks. All are brought into one form: float operators between Dequantize and Quantize
// nodes of int8, which compute_with_integers() makes integer ones of after the import.
#pragma once

#include <functional>
#include <string>

#include "converter/onnx/node_context.h"

namespace sparsenet::converter {

// The type that a QuantizeLinear makes: int8 or uint8, all others are refused.
Result<ElementType> quantized_type(NodeContext& c);

// Imports QuantizeLinear and DequantizeLinear of computed values, operators on quantised integers that name their
// scales (QLinearConv, ...), and those that only move such integers. `import` imports one more node, of which the
// operator is made up. False if the node is none of these.
bool import_quantized(NodeContext& c, const onnx_ns::NodeProto& node,
                      const std::function<Status(onnx_ns::NodeProto*)>& import, Status* status);

// Whether import_quantized() knows the operator by its name, which is of the default domain or of ONNX Runtime's.
bool is_imported_quantized(const std::string& op);
// Whether the operator reads quantised integers as its input i.
bool reads_quantized(const std::string& op, size_t i);
// Whether the operator computes scales while the network runs.
bool has_dynamic_scales(const std::string& op);

}  // namespace sparsenet::converter

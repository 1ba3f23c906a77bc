// What is known about ONNX operators that are not imported, for messages and for continuing after them.
#pragma once

#include <string>

#include "converter/report.h"

namespace sparsenet::converter {

// QuantizeLinear, QLinearConv, ConvInteger and similar ones, in any domain.
bool is_quantised_operator(const std::string& op);

// Whether output 0 has the shape of input 0, whatever the attributes.
bool keeps_shape(const std::string& op);

// Why an operator of the default domain without an importer is rejected.
std::string why_unknown(const std::string& op);

// The same for all operators of another domain.
Cause cause_of_domain(const std::string& domain);

}  // namespace sparsenet::converter

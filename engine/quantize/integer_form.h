// The int8 network from the float32 one and the ranges of its values.
#pragma once

#include <sparsenet/quantize.h>

#include <string>
#include <vector>

#include "quantize/ranges.h"

namespace sparsenet {

Result<Graph> make_integer_form(const Graph& graph, const std::vector<Range>& ranges,
                                const std::vector<std::string>& keep_float, QuantizeReport* report);

}  // namespace sparsenet

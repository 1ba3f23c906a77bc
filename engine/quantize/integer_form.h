// The int8 network from the float32 one and the ranges of its values.
#pragma once

#include <sparsenet/quantize.h>

#include <string>
#include <vector>

#include "quantize/ranges.h"

namespace sparsenet {

// Which nodes have a name that a pattern fits, in which * stands for any characters. kInvalidArgument: one fits none.
Result<std::vector<bool>> find_nodes(const Graph& graph, const std::vector<std::string>& patterns);

// `kept`: which nodes stay float32.
Result<Graph> make_integer_form(const Graph& graph, const std::vector<Range>& ranges, std::vector<bool> kept,
                                QuantizeReport* report);

}  // namespace sparsenet

// Streams of random graphs of int8 nodes, by name, and inputs for them; see random_graphs.h.
#pragma once

#include <sparsenet/graph.h>

#include <string>
#include <vector>

#include "support/integer_maker.h"
#include "support/random_graphs.h"
#include "support/reference.h"

namespace sparsenet::test {

const std::vector<Generator>& integer_generators();

enum class InputKind : uint8_t { kAny, kLowest, kHighest, kEnds };

// Integers of the inputs' types, or float32 numbers with NaN, infinities and numbers half way between integers.
std::vector<Array> integer_inputs(const Graph& graph, uint64_t seed, InputKind kind);

}  // namespace sparsenet::test

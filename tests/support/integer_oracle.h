// What graphs of integers compute, byte by byte: straight from the definitions in graph.h (Quantization, Rounding),
// with 64-bit integers, and without anything of the engine's own arithmetic. The standard by which its kernels are
// judged.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <vector>

#include "support/reference.h"

namespace sparsenet::test {

// Arrays hold the integers of int8 and uint8 values, and the numbers of float32 values. Of a Softmax they hold the
// exact integers before they are rounded, see Expected::exact. Fails where a sum or a product leaves 32 bits, which the
// engine must refuse.
struct Expected {
  std::vector<Array> outputs;  // one per graph output
  bool exact = true;           // false: there is a Softmax, whose bytes may be off by one
};
Result<Expected> evaluate_integers(const Graph& graph, const std::vector<Array>& inputs);

// factor = fixed * 2^(exponent - 31), fixed in [2^30, 2^31); both are 0 for a factor below 2^-32. Of a mean, `fixed`
// may be half as large.
struct FixedPoint {
  int64_t fixed = 0;
  int exponent = 0;
};

// sum * factor, rounded. Fails where the result, or what is computed on the way, leaves 32 bits.
Result<int64_t> requantised(int64_t sum, double factor, Rounding rounding);
Result<int64_t> requantised(int64_t sum, const FixedPoint& factor, Rounding rounding);

}  // namespace sparsenet::test

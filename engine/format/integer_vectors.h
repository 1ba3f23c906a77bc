// Test vectors as files hold them: a float32 input that a Quantize takes is stored as the integers which that makes of
// it, where these stand for exactly the same numbers. In memory it is float32 always.
#pragma once

#include <sparsenet/graph.h>

#include <cstdint>
#include <vector>

namespace sparsenet {

// What the integers stand for that the first Quantize of this float32 input makes of it; null if no Quantize takes it.
const Quantization* quantization_of_input(const Graph& graph, ValueId input);

// The integers that stand for these numbers, bit for bit; empty if they are no such numbers.
std::vector<int8_t> integers_of(const Tensor& numbers, const Quantization& quantization);
// The reverse, for int8 or uint8.
Tensor numbers_of(const Tensor& integers, const Quantization& quantization);

}  // namespace sparsenet

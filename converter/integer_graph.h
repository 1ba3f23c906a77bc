// Quantised networks as files of other frameworks write them: float ops between Dequantize and Quantize nodes. Where an
// op can compute with integers, the nodes around it become part of it.
#pragma once

#include <sparsenet/graph.h>

#include <string>
#include <unordered_map>

#include "converter/host_tensor.h"
#include "converter/report.h"

namespace sparsenet::converter {

// By name: constants of the graph, which are float32 there, with the integers that they were stored as.
using IntegerConstants = std::unordered_map<std::string, IntegerWeights>;

// Rewrites what lies between Dequantize and Quantize nodes to nodes of int8, as Quantization (sparsenet/graph.h) says.
// What they cannot express stays float32, which notes tell. The shapes must have been inferred.
void compute_with_integers(Graph* graph, const IntegerConstants& constants, Report* report);

// A convolution or fully connected layer with integers.
struct IntegerLayer {
  Tensor weight;  // int8
  Quantization weight_quantization;
  Tensor bias;  // int32; without data if the layer has none
};
// Makes the integers of a layer whose input and output have these quantisations. Otherwise the reason why it has to
// stay float32. `weights` are those of its weight; null: it was not stored as integers.
std::string make_integer_layer(const Graph& graph, const Node& node, const IntegerWeights* weights,
                               const Quantization& in, const Quantization& out, IntegerLayer* layer);

// Merges Quantize nodes that do the same, and puts them in front of Reshape, Transpose and Identity: so that the op
// whose result is quantised meets its Quantize, and no other.
void order_quantize_nodes(Graph* graph);

// Whether sums up to this size, multiplied by the factor, are in range of the arithmetic.
bool fits_multiplier(double largest_sum, double factor);

}  // namespace sparsenet::converter

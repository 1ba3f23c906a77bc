// Weights and biases of layers that compute with integers, and the real numbers that these stand for.
#pragma once

#include <sparsenet/graph.h>

#include <vector>

namespace sparsenet {

// The scale of each output.
std::vector<double> weight_scales(const Quantization& weight, int64_t outputs);

Tensor real_weight(const Tensor& integers, const std::vector<double>& scales);
// A bias has the scale of the layer's input times that of the weight.
Tensor real_bias(const Tensor& integers, double input_scale, const std::vector<double>& scales);

// How many steps the largest magnitude of each row of a weight is; 127 where all are 0. A row is what has one scale: an
// output, or the whole weight. Whoever made the network may have left out the outermost integers, and then training
// does not use them either.
std::vector<float> most_of_rows(const Tensor& integers, size_t rows);

struct IntegerWeight {
  Tensor integers;
  std::vector<float> scales;  // one for each row
};
// `numbers` times `unit`, with every row in multiples of its largest magnitude divided by its `most`, or of `least` if
// that is larger.
IntegerWeight integer_weight(const Tensor& numbers, const std::vector<float>& most, float unit,
                             const std::vector<double>& least);

// False if an integer would leave 32 bits.
bool integer_bias(const Tensor& numbers, double input_scale, const std::vector<double>& scales, Tensor* integers);

}  // namespace sparsenet

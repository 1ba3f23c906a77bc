// Random small classifiers around one op, for testing its gradient: an input, a layer with trained parameters through
// which the gradient of the op's input becomes visible, the op, and a head that weighs every element differently.
#pragma once

#include <vector>

#include "support/random_graphs.h"

namespace sparsenet::test {

const std::vector<Generator>& train_layer_generators();    // Conv, FullyConnected, BatchNorm, activations, pools, ...
const std::vector<Generator>& train_data_generators();     // Concat, Split, Slice, Pad, arithmetic, Reshape, ...
const std::vector<Generator>& train_general_generators();  // matrix products, LayerNorm, Exp, Max, ...
const std::vector<Generator>& train_network_generators();  // several ops together

// Wide layers, for comparing backends.
const std::vector<Generator>& train_wide_generators();

// Shared by the generators.
struct TrainGraphMaker : GraphMaker {
  using GraphMaker::GraphMaker;

  // [N, C, H, W] after a convolution, or [N, C] after a fully connected layer; N from 2 to 4.
  ValueId front(int64_t channels, int64_t height, int64_t width);
  ValueId front_vector(int64_t channels);
  ValueId front_image(int low = 2, int high = 7);  // of random size
  // A fully connected layer on all elements, or sometimes on their averages, and sometimes a Softmax after it.
  Graph classify(ValueId x);

  int64_t channels() { return random.pick(std::vector<int64_t>{1, 2, 3, 4, 5, 7, 8, 12, 16, 17}); }
  int64_t batch_ = random.integer(2, 4);
};

}  // namespace sparsenet::test

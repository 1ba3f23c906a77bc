// Random small classifiers around one op, for the test of its gradient: an input, a layer with trained parameters
// through which the gradient of the op's input is seen, the op, and a head that weighs every element on its own.
#pragma once

#include <vector>

#include "support/random_graphs.h"

namespace sparsenet::test {

const std::vector<Generator>& train_layer_generators();    // Conv, FullyConnected, BatchNorm, activations, pools, ...
const std::vector<Generator>& train_data_generators();     // Concat, Split, Slice, Pad, arithmetic, Reshape, ...
const std::vector<Generator>& train_network_generators();  // several ops at work together

// Wide layers, for comparing backends.
const std::vector<Generator>& train_wide_generators();

// What the generators share.
struct TrainGraphMaker : GraphMaker {
  using GraphMaker::GraphMaker;

  // [N, C, H, W] behind a convolution, or [N, C] behind a fully connected layer; N from 2 to 4.
  ValueId front(int64_t channels, int64_t height, int64_t width);
  ValueId front_vector(int64_t channels);
  ValueId front_image(int low = 2, int high = 7);  // of random size
  // A fully connected layer on all elements, or now and then on their averages, and at times a Softmax behind it.
  Graph classify(ValueId x);

  int64_t channels() { return random.pick(std::vector<int64_t>{1, 2, 3, 4, 5, 7, 8, 12, 16, 17}); }
  int64_t batch_ = random.integer(2, 4);
};

}  // namespace sparsenet::test

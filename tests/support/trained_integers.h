// Small networks that compute with integers, for the suites about quantising and training, and images and labels for
// them.
#pragma once

#include <sparsenet/session.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet::test {

using Values = std::vector<float>;

Values random_images(uint64_t seed, int64_t count, int64_t elements);
std::vector<int32_t> random_labels(uint64_t seed, int64_t count, int64_t classes);

// What quantize() makes of a graph, with ranges from random images.
Graph quantised(Graph graph, uint64_t seed, const std::vector<std::string>& keep_float = {});

// A dense block with groups of different ranges, a gate, a residual and pooling of each kind; five classes.
Graph float_network(uint64_t seed);

// As other programs quantise: integers as input, one scale for some weights, tables and a Softmax.
Graph integer_network(uint64_t seed);

// One or the other kind of int8 network.
Graph network_of(uint64_t seed);

// The outputs for a batch.
Values run(const Graph& graph, const Values& images, int64_t batch, Backend backend = Backend::kAuto);

}  // namespace sparsenet::test

// Four ordinary ImageNet classifiers, layer for layer as torchvision has them, with random weights. Only what does
// nothing at inference is left out: Dropout and stochastic depth.
//
// Real networks show what small random graphs do not: long chains of steps, wide layers, arenas in which many buffers
// follow each other, rounding that adds up. Their weights are not needed for that, only their scale: values stay around
// 1 from the image to the scores, and both the classes and the images of a batch can be told apart.
#pragma once

#include <sparsenet/graph.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet::test {

// torchvision's names: "resnet18", "mobilenet_v2", "squeezenet1_1", "efficientnet_b0".
const std::vector<std::string>& image_network_names();

// Input [batch, 3, size, size] of values around 0 with variance 1, output [batch, 1000], without a Softmax. The weights
// depend on name and seed alone. Throws std::invalid_argument for another name; if the network has no room in an image
// of this size, infer_shapes() says so.
Graph image_network(const std::string& name, uint64_t seed, int64_t size = 224, int64_t batch = 1);

}  // namespace sparsenet::test

// From a float32 network to an int8 network, after training.
//
// The ranges of all values are measured on images (calibration), and every layer that has an int8 form gets it: weights
// with a scale per output, activations with a scale and zero point per value. A group of a SparseNet or DenseNet keeps
// a scale of its own in every concatenation that it is part of: the affine (batch normalisation) in front of a layer
// brings each channel to the layer's scale. What has no int8 form stays float32, between Dequantize and Quantize nodes;
// so do the graph's inputs and outputs, so that the result is used like the network that it was made from.
#pragma once

#include <sparsenet/model.h>
#include <sparsenet/status.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace sparsenet {

// How the range of an activation follows from the values that were seen. All but kMinMax leave out what is rare.
enum class RangeMethod : uint8_t {
  kMinMax = 0,
  kPercentile = 1,  // 0.01 % of the values lie outside
  kKl = 2,          // the smallest Kullback-Leibler divergence of the quantised histogram from the original one
  kMse = 3,         // the smallest mean squared error
};
const char* name(RangeMethod method);                             // "minmax", "percentile", "kl", "mse"
Result<RangeMethod> parse_range_method(const std::string& text);  // kInvalidArgument

struct QuantizeOptions {
  RangeMethod method = RangeMethod::kMse;
  // Nodes that stay float32: names, in which * stands for any characters.
  std::vector<std::string> keep_float;
  int threads = 0;  // as in SessionOptions
  // Called after every image of each of the two rounds of calibration, with how many of all are done.
  std::function<void(int64_t done, int64_t all)> progress;
};

struct QuantizeReport {
  int64_t integer_nodes = 0, float_nodes = 0;  // of the result
  std::vector<std::string> kept_float;         // "Softmax 'probabilities': no int8 form", one per node
};

// `images`: `count` inputs of the graph's only input, each of its elements for batch 1 (images: NCHW, normalised as for
// set_input()). They should come from the training set: a hundred or more, of all classes. Errors: kUnsupported (no
// constant-weight layer has an int8 form; the graph has integers already or several inputs), kInvalidArgument (no
// images; a pattern of keep_float that fits no node; values that are not finite), and those of sessions.
Result<Model> quantize(const Model& model, const float* images, int64_t count, const QuantizeOptions& options,
                       QuantizeReport* report = nullptr);

}  // namespace sparsenet

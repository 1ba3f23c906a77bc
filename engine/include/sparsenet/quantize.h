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
#include <memory>
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
  // Nodes that stay float32: names, in which * and ? mean what they mean in a shell.
  std::vector<std::string> keep_float;
  int threads = 0;  // as in SessionOptions
  // Called after every image of each of the two rounds of calibration, with how many of all are done.
  std::function<void(int64_t done, int64_t all)> progress;
};

struct QuantizeReport {
  int64_t integer_nodes = 0, float_nodes = 0;  // of the result
  std::vector<std::string> kept_float;         // "Softmax 'probabilities': no int8 form", one per node
};

// What quantising one layer alone does.
struct LayerDamage {
  std::string node;         // a convolution or fully connected layer
  int64_t bytes_saved = 0;  // of its constants
  double error = 0;         // root mean square of the change of the network's output, relative to that of the output
};

// A calibrated network, from which int8 networks with different layers in float32 can be made. Thread safety: const
// access from several threads is safe.
class Quantizer {
 public:
  // `images`: `count` inputs of the graph's only input, each of its elements for batch 1 (images: NCHW, normalised as
  // for set_input()); they are not kept. They should come from the training set: a hundred or more, of all classes.
  // Errors: kUnsupported (the graph has integers already or several inputs), kInvalidArgument (no images; values that
  // are not finite), and those of sessions.
  static Result<Quantizer> calibrate(const Model& model, const float* images, int64_t count,
                                     const QuantizeOptions& options);
  Quantizer(Quantizer&&) noexcept;
  Quantizer& operator=(Quantizer&&) noexcept;
  ~Quantizer();

  // The int8 network; `keep_float` as in the options, in addition to theirs. Errors: kUnsupported (no layer has an int8
  // form), kInvalidArgument (a pattern that matches no node), and those of Session::create for the int8 network.
  Result<Model> make(const std::vector<std::string>& keep_float = {}, QuantizeReport* report = nullptr) const;

  // The damage of every layer that has an int8 form, the largest first, measured on images as for calibrate().
  // `progress` is called after every layer.
  Result<std::vector<LayerDamage>> damage(const float* images, int64_t count,
                                          const std::function<void(int64_t done, int64_t all)>& progress = {}) const;

 private:
  struct Impl;
  explicit Quantizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Both in one call.
Result<Model> quantize(const Model& model, const float* images, int64_t count, const QuantizeOptions& options,
                       QuantizeReport* report = nullptr);

}  // namespace sparsenet

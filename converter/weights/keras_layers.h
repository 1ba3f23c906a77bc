// Where the weights of Keras layers are in an HDF5 file, what they are, and in which order.
//
// Keras 2 (also .h5 files that Keras 3 writes): at the root, or in "model_weights", the attribute layer_names lists the
// layers in their order; the group of each lists its weights in weight_names ("conv1/kernel:0"), which are datasets
// below it.
//
// Keras 3: "layers/conv2d_1/vars/0", where the layers' groups are called by their classes and numbered by class. The
// variables are numbered. The layer's own name is an attribute of "vars", or in the configuration, which also tells the
// order of layers of different classes.
#pragma once

#include "converter/weights/hdf5_tree.h"
#include "converter/weights/keras_config.h"

namespace sparsenet::converter {

struct KerasWeight {
  enum class Kind : uint8_t { kOther, kKernel, kDepthwiseKernel };
  std::string name;    // "conv1/kernel:0" or "conv1/kernel"
  size_t dataset = 0;  // index
  Kind kind = Kind::kOther;
  int run = 0;  // see SourceTensor
};

struct KerasWeights {
  std::vector<KerasWeight> list;
  bool ordered = true, ordered_in_runs = false;  // see SourceTensors
};

// `config` may be null.
Result<KerasWeights> find_keras_weights(const Hdf5Tree& tree, const KerasConfig* config);

}  // namespace sparsenet::converter

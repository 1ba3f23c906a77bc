// What Keras says about a network's layers beside its weights: config.json in a .keras archive, the attribute
// model_config of a whole model in an .h5 file.
#pragma once

#include <sparsenet/status.h>

#include <map>
#include <set>
#include <string>

namespace sparsenet::converter {

struct KerasLayer {
  size_t order = 0;  // its place among all layers of the network, those of networks inside it included
  std::string name, class_name;
  bool scale = true, center = true;  // of BatchNormalization: whether it has gamma, beta
};

struct KerasConfig {
  // By the group that holds the layer's weights in Keras 3: "layers/conv2d_1", "layers/functional/layers/conv2d". Those
  // groups are called by the layers' classes and numbered by class.
  std::map<std::string, KerasLayer> layers;
  std::set<double> epsilons;  // of all batch normalisations
};

// Memory is charged to the conversion's budget.
Result<KerasConfig> parse_keras_config(const char* text, size_t size);

// "batch_normalization" for "BatchNormalization", as Keras does it.
std::string snake_case(const std::string& class_name);

}  // namespace sparsenet::converter

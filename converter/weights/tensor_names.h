// What the names of tensors reveal: their role in a layer, and synonyms for the same layer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet::converter {

// What a tensor is for, as far as known. BatchNorm's scale is a weight, its shift a bias.
enum class Role : uint8_t { kUnknown, kWeight, kBias, kMean, kVariance };
Role role_from_name(const std::string& name);  // by its last part: "bn1.running_mean", "dense/kernel:0"

// The name of a Keras layer's tensor as constants are named: "conv1.weight" for "conv1/kernel:0".
std::string without_keras_words(const std::string& name);
// The same without a difference between dots and underscores, which names of layers in Keras have in their place.
std::string flat_name(const std::string& name);

// The same layers under the names of other widespread implementations (above all torchvision's ResNets).
struct LayerAlias {
  const char* theirs;
  const char* ours;
};
const std::vector<LayerAlias>& layer_aliases();
// `name` with the first whole dot-separated part equal to `theirs` replaced; empty if there is none.
std::string with_alias(const std::string& name, const LayerAlias& alias);

}  // namespace sparsenet::converter

#include "converter/weights/tensor_names.h"

#include <algorithm>

namespace sparsenet::converter {

Role role_from_name(const std::string& name) {
  const size_t dot = name.find_last_of("./");
  std::string last = dot == std::string::npos ? name : name.substr(dot + 1);
  last = last.substr(0, last.find(':'));  // as in TensorFlow's "kernel:0"
  struct Row {
    const char* name;
    Role role;
  };
  static const Row kRows[] = {
      {"weight", Role::kWeight},
      {"kernel", Role::kWeight},
      {"depthwise_kernel", Role::kWeight},
      {"pointwise_kernel", Role::kWeight},
      {"gamma", Role::kWeight},
      {"scale", Role::kWeight},
      {"weights", Role::kWeight},
      {"bias", Role::kBias},
      {"beta", Role::kBias},
      {"biases", Role::kBias},
      {"shift", Role::kBias},
      {"running_mean", Role::kMean},
      {"moving_mean", Role::kMean},
      {"mean", Role::kMean},
      {"running_var", Role::kVariance},
      {"moving_variance", Role::kVariance},
      {"variance", Role::kVariance},
      {"var", Role::kVariance},
  };
  for (const Row& row : kRows) {
    if (last == row.name) return row.role;
  }
  return Role::kUnknown;
}

std::string without_keras_words(const std::string& name) {
  static const LayerAlias kWords[] = {{"kernel", "weight"},
                                      {"gamma", "weight"},
                                      {"beta", "bias"},
                                      {"moving_mean", "running_mean"},
                                      {"moving_variance", "running_var"}};
  std::string out = name.substr(0, name.find(':'));
  const size_t last = out.find_last_of("./") + 1;  // 0 if there is none
  for (const LayerAlias& word : kWords) {
    if (out.compare(last, std::string::npos, word.theirs) != 0) continue;
    out.replace(last, std::string::npos, word.ours);
    break;
  }
  std::replace(out.begin(), out.end(), '/', '.');
  return out;
}

std::string flat_name(const std::string& name) {
  std::string flat = without_keras_words(name);
  std::replace(flat.begin(), flat.end(), '.', '_');
  return flat;
}

const std::vector<LayerAlias>& layer_aliases() {
  static const std::vector<LayerAlias> kAliases = {
      {"downsample", "shortcut"}, {"fc", "linear"}, {"linear", "fc"}, {"classifier", "fc"}, {"classifier", "linear"}};
  return kAliases;
}

std::string with_alias(const std::string& name, const LayerAlias& alias) {
  const std::string dotted = "." + name, part = "." + std::string(alias.theirs) + ".";
  const size_t at = dotted.find(part);
  if (at == std::string::npos) return {};
  return (dotted.substr(0, at) + "." + alias.ours + dotted.substr(at + part.size() - 1)).substr(1);
}

}  // namespace sparsenet::converter

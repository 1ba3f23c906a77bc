#include "converter/weights/keras_layers.h"

#include <algorithm>
#include <cctype>
#include <unordered_map>

#include "converter/report.h"

namespace sparsenet::converter {
namespace {

// The last part of "a/b/kernel:0", without the number.
std::string last_part(const std::string& path) {
  const std::string last = path.substr(path.rfind('/') + 1);
  return last.substr(0, last.find(':'));
}

KerasWeight::Kind kind_of(const std::string& name) {
  const std::string last = last_part(name);
  if (last == "depthwise_kernel") return KerasWeight::Kind::kDepthwiseKernel;
  return last == "kernel" || last == "pointwise_kernel" ? KerasWeight::Kind::kKernel : KerasWeight::Kind::kOther;
}

// 2: of a batch normalisation; 1: of another layer.
int run_of(const std::string& name) {
  const std::string last = last_part(name);
  for (const char* part : {"gamma", "beta", "moving_mean", "moving_variance"}) {
    if (last == part) return 2;
  }
  return 1;
}

// An attribute with all parts that a long list is stored in.
std::vector<std::string> list_of(const Hdf5Tree& tree, const std::string& path, const std::string& name) {
  if (const std::vector<std::string>* whole = tree.attribute(path, name)) return *whole;
  std::vector<std::string> all;
  for (size_t i = 0;; ++i) {
    const std::vector<std::string>* part = tree.attribute(path, name + std::to_string(i));
    if (!part) return all;
    all.insert(all.end(), part->begin(), part->end());
  }
}

// The weights of a network inside another one are listed by kind, first all that are trained. Those of a layer belong
// together.
void group_by_layer(std::vector<KerasWeight>* weights) {
  std::unordered_map<std::string, size_t> first;
  std::vector<std::pair<size_t, size_t>> order;  // the layer's place, the weight's
  for (size_t i = 0; i < weights->size(); ++i) {
    const std::string& name = (*weights)[i].name;
    order.emplace_back(first.emplace(name.substr(0, name.rfind('/')), i).first->second, i);
  }
  std::sort(order.begin(), order.end());
  std::vector<KerasWeight> sorted;
  for (const auto& place : order) sorted.push_back(std::move((*weights)[place.second]));
  *weights = std::move(sorted);
}

// The form of Keras 2, in the group `root`.
Result<KerasWeights> find_listed(const Hdf5Tree& tree, const std::string& root) {
  std::unordered_map<std::string, size_t> datasets;
  for (size_t i = 0; i < tree.datasets.size(); ++i) datasets[tree.datasets[i].path] = i;
  const std::string base = root.empty() ? "" : root + "/";
  std::vector<bool> used(tree.datasets.size(), false);
  KerasWeights out;
  for (const std::string& layer : list_of(tree, root, "layer_names")) {
    for (const std::string& weight : list_of(tree, base + layer, "weight_names")) {
      const std::string path = base + layer + "/" + weight;
      const auto found = datasets.find(path);
      if (found == datasets.end() || used[found->second]) {
        return invalid_model("layer '" + printable(layer) + "': expected its weight at '" + printable(path) +
                             "', found " + (found == datasets.end() ? "none" : "one that is listed twice"));
      }
      used[found->second] = true;
      const bool plain = weight.find('/') == std::string::npos;
      KerasWeight entry;
      entry.name = plain ? layer + "/" + weight : weight;
      entry.dataset = found->second;
      entry.kind = kind_of(weight);
      entry.run = run_of(weight);
      out.list.push_back(std::move(entry));
    }
  }
  group_by_layer(&out.list);
  return out;
}

// A layer in the form of Keras 3.
struct Layer {
  std::string group;  // without "/vars"
  std::string name;   // as it is shown
  std::string base;   // the class in small letters, without a number
  size_t number = 0;  // among those of the same class
  size_t order = 0;   // among all layers, if that is known
  const KerasLayer* config = nullptr;
  std::vector<std::pair<size_t, size_t>> variables;  // number, dataset
};

bool as_number(const std::string& text, size_t* number) {
  constexpr size_t kMostDigits = 6;
  if (text.empty() || text.size() > kMostDigits) return false;
  *number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    *number = *number * 10 + static_cast<size_t>(c - '0');
  }
  return true;
}

// The group's path without the parts that every layer has.
std::string plain_path(const std::string& group) {
  std::string out;
  for (size_t at = 0; at <= group.size();) {
    const size_t end = std::min(group.find('/', at), group.size());
    const std::string part = group.substr(at, end - at);
    if (part != "layers" && part != "_layer_checkpoint_dependencies") out += (out.empty() ? "" : "/") + part;
    at = end + 1;
  }
  return out;
}

std::vector<Layer> collect_layers(const Hdf5Tree& tree) {
  std::vector<Layer> layers;
  std::unordered_map<std::string, size_t> by_group;
  for (size_t i = 0; i < tree.datasets.size(); ++i) {
    const std::string& path = tree.datasets[i].path;
    const size_t slash = path.rfind('/');
    const std::string vars = path.substr(0, slash == std::string::npos ? 0 : slash);
    size_t number = 0;
    const bool inside = vars == "vars" || (vars.size() > 5 && vars.compare(vars.size() - 5, 5, "/vars") == 0);
    if (!inside || !as_number(path.substr(slash + 1), &number)) continue;
    const std::string group = vars.substr(0, vars.size() - std::min<size_t>(vars.size(), 5));
    const auto [found, is_new] = by_group.emplace(group, layers.size());
    if (is_new) {
      Layer layer;
      layer.group = group;
      layer.base = last_part(group);
      const size_t underscore = layer.base.rfind('_');
      if (underscore != std::string::npos && as_number(layer.base.substr(underscore + 1), &layer.number)) {
        layer.base.resize(underscore);
      }
      layers.push_back(std::move(layer));
    }
    layers[found->second].variables.emplace_back(number, i);
  }
  for (Layer& layer : layers) std::sort(layer.variables.begin(), layer.variables.end());
  return layers;
}

// Names, and the layers' places in the configuration.
void describe_layers(const Hdf5Tree& tree, const KerasConfig* config, std::vector<Layer>* layers) {
  std::unordered_map<std::string, const KerasLayer*> by_name;
  if (config) {
    for (const auto& entry : config->layers) by_name[entry.second.name] = &entry.second;
  }
  std::unordered_map<std::string, size_t> uses;
  for (Layer& layer : *layers) {
    const std::vector<std::string>* name = tree.attribute(layer.group.empty() ? "vars" : layer.group + "/vars", "name");
    if (name && name->size() == 1) layer.name = (*name)[0];
    if (config) {
      const auto same_name = by_name.find(layer.name);
      const auto same_group = config->layers.find(layer.group);
      layer.config = same_name != by_name.end()           ? same_name->second
                     : same_group != config->layers.end() ? &same_group->second
                                                          : nullptr;
    }
    if (layer.config) layer.name = layer.config->name;
    ++uses[layer.name];
  }
  for (Layer& layer : *layers) {
    if (layer.name.empty() || uses[layer.name] > 1) layer.name = plain_path(layer.group);
  }
}

// Sorts the layers as far as the file tells, and says how far.
enum class Order : uint8_t { kKnown, kByClass, kUnknown };
Order sort_layers(std::vector<Layer>* layers) {
  const bool known = std::all_of(layers->begin(), layers->end(), [](const Layer& layer) { return layer.config; });
  if (known) {
    std::sort(layers->begin(), layers->end(),
              [](const Layer& a, const Layer& b) { return a.config->order < b.config->order; });
    return Order::kKnown;
  }
  // Numbers by class are an order only within one list of layers: attributes of a class of the user's are sorted by
  // their names.
  const bool one_list = std::all_of(layers->begin(), layers->end(), [](const Layer& layer) {
    const std::string plain = plain_path(layer.group);
    return plain.find('/') == std::string::npos && plain.size() < layer.group.size();
  });
  std::sort(layers->begin(), layers->end(),
            [](const Layer& a, const Layer& b) { return a.base != b.base ? a.base < b.base : a.number < b.number; });
  return one_list ? Order::kByClass : Order::kUnknown;
}

// The names of a layer's variables, as far as their number, shapes and the configuration tell.
std::vector<std::string> variable_names(const Hdf5Tree& tree, const Layer& layer) {
  const auto shape = [&](size_t i) -> const Shape& { return tree.datasets[layer.variables[i].second].shape; };
  const size_t count = layer.variables.size();
  const std::string base = layer.config ? snake_case(layer.config->class_name) : layer.base;
  bool normalises = base == "batch_normalization" || (!layer.config && count == 4);
  for (size_t i = 0; i < count; ++i) normalises = normalises && shape(i).size() == 1 && shape(i) == shape(0);
  if (normalises && (layer.config || count == 4)) {
    std::vector<std::string> names;
    if (!layer.config || layer.config->scale) names.emplace_back("gamma");
    if (!layer.config || layer.config->center) names.emplace_back("beta");
    names.emplace_back("moving_mean");
    names.emplace_back("moving_variance");
    if (names.size() == count) return names;
  }
  if (base == "separable_conv2d" && count >= 2) {
    return count == 3 ? std::vector<std::string>{"depthwise_kernel", "pointwise_kernel", "bias"}
                      : std::vector<std::string>{"depthwise_kernel", "pointwise_kernel"};
  }
  const bool plain = count > 0 && count <= 2 && shape(0).size() >= 2 && (count == 1 || shape(1).size() == 1);
  if (!plain || base == "embedding") return {};
  std::vector<std::string> names{base == "depthwise_conv2d" ? "depthwise_kernel" : "kernel"};
  if (count == 2) names.emplace_back("bias");
  return names;
}

// The form of Keras 3.
KerasWeights find_variables(const Hdf5Tree& tree, const KerasConfig* config) {
  std::vector<Layer> layers = collect_layers(tree);
  describe_layers(tree, config, &layers);
  const Order order = sort_layers(&layers);
  KerasWeights out;
  out.ordered = order != Order::kUnknown;
  out.ordered_in_runs = order == Order::kByClass;
  for (const Layer& layer : layers) {
    const std::vector<std::string> names = variable_names(tree, layer);
    for (size_t i = 0; i < layer.variables.size(); ++i) {
      KerasWeight weight;
      weight.name =
          layer.name + (layer.name.empty() ? "" : "/") +
          (names.size() == layer.variables.size() ? names[i] : "vars/" + std::to_string(layer.variables[i].first));
      weight.dataset = layer.variables[i].second;
      weight.kind = kind_of(weight.name);
      if (out.ordered) weight.run = run_of(weight.name);
      out.list.push_back(std::move(weight));
    }
  }
  return out;
}

}  // namespace

Result<KerasWeights> find_keras_weights(const Hdf5Tree& tree, const KerasConfig* config) {
  for (const char* root : {"model_weights", ""}) {
    if (!list_of(tree, root, "layer_names").empty()) return find_listed(tree, root);
  }
  KerasWeights found = find_variables(tree, config);
  if (!found.list.empty()) return found;
  return unsupported(
      "an HDF5 file, but not as Keras writes them: expected the attribute layer_names (Keras 2) or groups called vars "
      "(Keras 3), found neither");
}

}  // namespace sparsenet::converter

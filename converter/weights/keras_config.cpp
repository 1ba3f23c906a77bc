#include "converter/weights/keras_config.h"

#include <cctype>
#include <nlohmann/json.hpp>

#include "converter/io/memory_budget.h"

namespace sparsenet::converter {
namespace {

using Json = nlohmann::json;

bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool flag_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || !found->is_boolean() || found->get<bool>();
}

// The list of layers of a network: in its configuration, which was the list itself in old files.
const Json* layers_of(const Json& network) {
  const auto config = network.find("config");
  if (config == network.end()) return nullptr;
  if (config->is_array()) return &*config;
  if (!config->is_object()) return nullptr;
  const auto layers = config->find("layers");
  return layers != config->end() && layers->is_array() ? &*layers : nullptr;
}

void read_layers(const Json& list, const std::string& path, KerasConfig* out) {
  std::map<std::string, size_t> used;
  for (const Json& layer : list) {
    if (!layer.is_object()) continue;
    KerasLayer entry;
    entry.class_name = text_of(layer, "class_name");
    const std::string base = snake_case(entry.class_name);
    const size_t number = used[base]++;
    const std::string group = path + "layers/" + base + (number > 0 ? "_" + std::to_string(number) : "");
    entry.name = text_of(layer, "name");
    const auto config = layer.find("config");
    if (config != layer.end() && config->is_object()) {
      if (entry.name.empty()) entry.name = text_of(*config, "name");
      entry.scale = flag_of(*config, "scale");
      entry.center = flag_of(*config, "center");
      const auto epsilon = config->find("epsilon");
      const bool normalises = base == "batch_normalization" && epsilon != config->end() && epsilon->is_number();
      if (normalises) out->epsilons.insert(epsilon->get<double>());
    }
    entry.order = out->layers.size();
    out->layers[group] = entry;
    // The depth is that of the document, which is limited.
    if (const Json* inner = layers_of(layer)) read_layers(*inner, group + "/", out);
  }
}

}  // namespace

std::string snake_case(const std::string& class_name) {
  std::string plain, words, out;
  for (const char c : class_name.substr(class_name.rfind('>') + 1)) {  // "package>Name" is a registered class
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_') plain += c;
  }
  // Before a capital letter that small letters follow, then between a small letter and a capital one.
  for (size_t i = 0; i < plain.size();) {
    words += plain[i++];
    if (i + 1 >= plain.size() || !is_upper(plain[i]) || !is_lower(plain[i + 1])) continue;
    words += '_';
    words += plain[i++];
    while (i < plain.size() && is_lower(plain[i])) words += plain[i++];
  }
  for (size_t i = 0; i < words.size(); ++i) {
    out += static_cast<char>(std::tolower(static_cast<unsigned char>(words[i])));
    if (i + 1 < words.size() && is_lower(words[i]) && is_upper(words[i + 1])) out += '_';
  }
  return out;
}

Result<KerasConfig> parse_keras_config(const char* text, size_t size) {
  constexpr int kMaxDepth = 64;
  constexpr uint64_t kPerByte = 48;  // what the values of a document of many small ones take
  MemoryCharge charge;
  SPARSENET_RETURN_IF_ERROR(charge.raise_to(kPerByte * size));
  // Only what is read below is kept.
  const auto keep = [](int depth, Json::parse_event_t event, Json& parsed) {
    if (event != Json::parse_event_t::key) return depth <= kMaxDepth;
    const std::string& key = parsed.get_ref<const std::string&>();
    for (const char* wanted : {"class_name", "config", "layers", "name", "scale", "center", "epsilon"}) {
      if (key == wanted) return true;
    }
    return false;
  };
  const Json document = Json::parse(text, text + size, keep, false);
  if (!document.is_object()) return invalid_model("expected a JSON object, found something else");
  KerasConfig config;
  if (const Json* layers = layers_of(document)) read_layers(*layers, "", &config);
  return config;
}

}  // namespace sparsenet::converter

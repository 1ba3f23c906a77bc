// Parses and checks architectures: their names and options, defaults and limits. Grammar:
// NAME[:KEY=VALUE[,KEY=VALUE]...]
#include <sparsenet/architecture.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include "base/guarded.h"
#include "zoo/architecture_builders.h"

namespace sparsenet {
namespace {

using Family = Architecture::Family;
using Layer = Architecture::Layer;
using Attention = Architecture::Attention;
using Stem = Architecture::Stem;
using Shortcut = Architecture::Shortcut;

constexpr int kMaxBlocks = 16, kMaxLayers = 2048, kMaxWidth = 4096, kMaxClasses = 1 << 20, kMaxImage = 8192;

struct Version {
  int k, path;
  std::vector<int> blocks;
};

// The blocks of V1-V4 are those of the paper; k and path of V2-V4 are reconstructed; V0 is the smallest setting of the
// authors' scripts.
const Version& version_of(char digit) {
  static const Version versions[] = {
      {8, 7, {4, 6, 8}}, {16, 14, {8, 12, 16}}, {20, 22, {12, 18, 24}}, {24, 30, {16, 24, 32}}, {26, 38, {20, 30, 40}}};
  return versions[digit - '0'];
}

constexpr char kNameForms[] =
    "sparsenet-{basic|bc|abc}[-v0..v4], densenet-bc-L-k, densenet-L-k, densenet-{bc|basic}, resnetN (N = 6 n + 2)";

std::string quoted(std::string_view text) {
  std::string out = "'";
  for (char c : text.substr(0, 80)) out += c >= 0x20 && c < 0x7F ? c : '?';
  return out + (text.size() > 80 ? "...'" : "'");
}

Status wrong(std::string_view key, const std::string& expected, std::string_view found) {
  return invalid_argument(std::string(key) + ": expected " + expected + ", found " + quoted(found));
}

std::optional<int> parse_int(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty() || text[0] == '-') return std::nullopt;
  return value;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t at = 0;; ++at) {
    const size_t end = text.find(separator, at);
    parts.push_back(text.substr(at, end == std::string_view::npos ? end : end - at));
    if (end == std::string_view::npos) return parts;
    at = end;
  }
}

bool take_prefix(std::string_view* text, std::string_view prefix) {
  if (text->substr(0, prefix.size()) != prefix) return false;
  text->remove_prefix(prefix.size());
  return true;
}

void set_keep(Architecture* arch, int path) {
  arch->path = path;
  arch->keep_near = path - path / 2;
  arch->keep_far = path / 2;
}

Status set_sparsenet_name(std::string_view rest, Architecture* arch) {
  const std::vector<std::string_view> parts = split(rest, '-');
  arch->family = Family::kSparseNet;
  arch->attention = Attention::kNone;
  if (parts[0] == "basic") {
    arch->layer = Layer::kBasic;
  } else if (parts[0] == "abc") {
    arch->attention = Attention::kPaper;
  } else if (parts[0] != "bc") {
    return wrong("sparsenet", "basic, bc or abc", parts[0]);
  }
  if (parts.size() == 1) return {};
  if (parts.size() > 2 || parts[1].size() != 2 || parts[1][0] != 'v' || parts[1][1] < '0' || parts[1][1] > '4') {
    return wrong("version", "v0, v1, v2, v3 or v4", rest.substr(parts[0].size() + 1));
  }
  const Version& version = version_of(parts[1][1]);
  arch->blocks = version.blocks;
  arch->k = version.k;
  set_keep(arch, version.path);
  return {};
}

Status set_densenet_name(std::string_view rest, Architecture* arch) {
  std::vector<std::string_view> parts = split(rest, '-');
  arch->family = Family::kDenseNet;
  arch->attention = Attention::kNone;
  arch->path = arch->keep_far = arch->keep_near = 0;
  arch->layer = parts[0] == "bc" ? Layer::kBottleneck : Layer::kBasic;
  if (parts[0] == "bc" || parts[0] == "basic") parts.erase(parts.begin());
  if (parts.empty()) {
    arch->blocks = {16, 16, 16};
    arch->k = 12;
    return {};
  }
  if (parts.size() != 2) return wrong("densenet", "[bc-]L-k, bc or basic", rest);
  const std::optional<int> depth = parse_int(parts[0]), k = parse_int(parts[1]);
  const int per_layer = arch->layer == Layer::kBottleneck ? 2 : 1;  // convolutions
  if (!depth || *depth <= 4 || (*depth - 4) % (3 * per_layer) != 0 || *depth > kMaxLayers) {
    return wrong("densenet depth", per_layer == 2 ? "6 n + 4, such as 100" : "3 n + 4, such as 40", parts[0]);
  }
  if (!k) return wrong("densenet k", "a number", parts[1]);
  arch->blocks.assign(3, (*depth - 4) / (3 * per_layer));
  arch->k = *k;
  return {};
}

Status set_resnet_name(std::string_view rest, Architecture* arch) {
  const std::optional<int> depth = parse_int(rest);
  if (!depth) return wrong("resnet", "a depth of 6 n + 2, such as 20", rest);
  arch->family = Family::kResNet;
  arch->attention = Attention::kNone;
  arch->depth = *depth;
  return {};
}

Status set_name(std::string_view text, Architecture* arch) {
  std::string_view rest = text;
  if (take_prefix(&rest, "sparsenet-")) return set_sparsenet_name(rest, arch);
  if (take_prefix(&rest, "densenet-")) return set_densenet_name(rest, arch);
  if (take_prefix(&rest, "resnet")) return set_resnet_name(rest, arch);
  return wrong("name", std::string("one of ") + kNameForms, text);
}

struct Option {
  std::string_view key, value;
};

// "3-4" -> {3, 4}
std::optional<std::vector<int>> parse_list(std::string_view text) {
  std::vector<int> list;
  for (std::string_view part : split(text, '-')) {
    const std::optional<int> value = parse_int(part);
    if (!value) return std::nullopt;
    list.push_back(*value);
  }
  return list;
}

Status set_int(const Option& option, int* out) {
  const std::optional<int> value = parse_int(option.value);
  if (!value) return wrong(option.key, "a number of 0 or more", option.value);
  *out = *value;
  return {};
}

std::string known_keys(const Architecture& arch) {
  std::string keys = "classes, bn-eps, image-size";
  if (arch.family == Family::kResNet) return keys + ", shortcut";
  keys = "blocks, k, attention, stem, " + keys;
  if (arch.layer == Layer::kBottleneck) keys += ", pre-relu";
  if (arch.family == Family::kSparseNet) keys += ", path, keep";
  return keys;
}

bool applies(const Architecture& arch, std::string_view key) {
  const std::string keys = known_keys(arch);
  for (std::string_view known : split(keys, ',')) {
    take_prefix(&known, " ");
    if (known == key) return true;
  }
  return false;
}

Status set_option(const Option& option, Architecture* arch) {
  const auto [key, value] = option;
  if (key == "k") return set_int(option, &arch->k);
  if (key == "classes") return set_int(option, &arch->classes);
  if (key == "image-size") return set_int(option, &arch->image_size);
  if (key == "path") {
    const std::optional<int> path = parse_int(value);
    if (!path) return wrong(key, "a number of 1 or more", value);
    set_keep(arch, *path);
  } else if (key == "keep") {
    const std::optional<std::vector<int>> keep = parse_list(value);
    if (!keep || keep->size() != 2) return wrong(key, "F-N, such as 7-7", value);
    arch->keep_far = (*keep)[0];
    arch->keep_near = (*keep)[1];
  } else if (key == "blocks") {
    const std::optional<std::vector<int>> blocks = parse_list(value);
    if (!blocks) return wrong(key, "layers of each block, such as 8-12-16", value);
    arch->blocks = *blocks;
  } else if (key == "attention") {
    if (value == "paper") {
      arch->attention = Attention::kPaper;
    } else if (value == "se") {
      arch->attention = Attention::kSqueezeExcite;
    } else if (value == "none") {
      arch->attention = Attention::kNone;
    } else {
      return wrong(key, "paper, se or none", value);
    }
  } else if (key == "stem") {
    if (value != "cifar" && value != "imagenet") return wrong(key, "cifar or imagenet", value);
    arch->stem = value == "imagenet" ? Stem::kImageNet : Stem::kCifar;
  } else if (key == "shortcut") {
    if (value != "pad" && value != "conv") return wrong(key, "pad or conv", value);
    arch->shortcut = value == "conv" ? Shortcut::kConv : Shortcut::kPad;
  } else if (key == "pre-relu") {
    if (value != "0" && value != "1") return wrong(key, "0 or 1", value);
    arch->pre_relu = value == "1";
  } else if (key == "bn-eps") {
    float epsilon = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), epsilon);
    if (error != std::errc() || end != value.data() + value.size()) return wrong(key, "a number such as 1e-5", value);
    arch->bn_epsilon = epsilon;
  }
  return {};
}

Status set_options(std::string_view text, Architecture* arch) {
  std::vector<Option> options;
  auto given = [&options](std::string_view key) {
    return std::any_of(options.begin(), options.end(), [key](const Option& o) { return o.key == key; });
  };
  for (std::string_view item : split(text, ',')) {
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos) return wrong("option", "KEY=VALUE", item);
    const Option option{item.substr(0, equals), item.substr(equals + 1)};
    if (!applies(*arch, option.key)) return wrong("option", "one of " + known_keys(*arch), option.key);
    if (given(option.key)) return invalid_argument(std::string(option.key) + ": given twice");
    options.push_back(option);
  }
  // `path` sets the default of `keep`, so it is applied first, whatever the order in which they were written.
  std::stable_partition(options.begin(), options.end(), [](const Option& o) { return o.key == "path"; });
  for (const Option& option : options) SPARSENET_RETURN_IF_ERROR(set_option(option, arch));
  return {};
}

Status check_range(const char* what, int value, int low, int high) {
  if (value >= low && value <= high) return {};
  return wrong(what, std::to_string(low) + " to " + std::to_string(high), std::to_string(value));
}

Status check_blocks(const Architecture& arch) {
  SPARSENET_RETURN_IF_ERROR(
      check_range("blocks", static_cast<int>(std::min<size_t>(arch.blocks.size(), 1 << 20)), 1, kMaxBlocks));
  int left = kMaxLayers;
  for (int layers : arch.blocks) {
    if (layers < 1 || layers > left) {
      return wrong("blocks", "1 or more layers each, " + std::to_string(kMaxLayers) + " together",
                   std::to_string(layers));
    }
    left -= layers;
  }
  int size = image_size(arch);
  if (arch.stem == Stem::kImageNet) size = ((size - 1) / 2 + 1 - 1) / 2 + 1;  // 7x7 and 3x3, stride 2, padded
  for (size_t b = 1; b < arch.blocks.size(); ++b) size /= 2;
  if (size >= 1) return {};
  return wrong("image-size", "enough for " + std::to_string(arch.blocks.size() - 1) + " halvings",
               std::to_string(image_size(arch)));
}

std::string join(const std::vector<int>& list) {
  std::string text;
  for (int value : list) text += (text.empty() ? "" : "-") + std::to_string(value);
  return text;
}

const char* attention_name(Attention attention) {
  switch (attention) {
    case Attention::kPaper:
      return "paper";
    case Attention::kSqueezeExcite:
      return "se";
    case Attention::kNone:
      break;
  }
  return "none";
}

}  // namespace

int image_size(const Architecture& arch) {
  if (arch.image_size != 0) return arch.image_size;
  return arch.stem == Stem::kImageNet && arch.family != Family::kResNet ? 224 : 32;
}

Status check_architecture(const Architecture& arch) {
  SPARSENET_RETURN_IF_ERROR(check_range("classes", arch.classes, 1, kMaxClasses));
  SPARSENET_RETURN_IF_ERROR(check_range("image-size", image_size(arch), 1, kMaxImage));
  if (!std::isfinite(arch.bn_epsilon) || arch.bn_epsilon <= 0.f || arch.bn_epsilon > 1.f) {
    return wrong("bn-eps", "more than 0, at most 1", std::to_string(arch.bn_epsilon));
  }
  if (arch.family == Family::kResNet) {
    if (arch.depth >= 8 && arch.depth <= kMaxLayers && arch.depth % 6 == 2) return {};
    return wrong("resnet depth", "6 n + 2 from 8 to " + std::to_string(kMaxLayers), std::to_string(arch.depth));
  }
  SPARSENET_RETURN_IF_ERROR(check_range("k", arch.k, 1, kMaxWidth));
  SPARSENET_RETURN_IF_ERROR(check_blocks(arch));
  if (arch.family == Family::kDenseNet) return {};
  SPARSENET_RETURN_IF_ERROR(check_range("path", arch.path, 1, kMaxLayers));
  if (arch.keep_far < 0 || arch.keep_near < 0 || arch.keep_far > arch.path ||
      arch.keep_near != arch.path - arch.keep_far) {
    return wrong("keep", "F-N with F + N = path = " + std::to_string(arch.path),
                 std::to_string(arch.keep_far) + "-" + std::to_string(arch.keep_near));
  }
  return {};
}

static Result<Architecture> parse(const std::string& text) {
  std::string lower = text;  // the literature writes SparseNet-abc-V1 as well
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const std::string_view view = lower;
  const size_t colon = view.find(':');
  const std::string_view base = view.substr(0, colon);
  const std::string context = "architecture " + quoted(text);
  Architecture arch;
  SPARSENET_RETURN_IF_ERROR(set_name(base, &arch).with_context(context));
  if (colon != std::string_view::npos) {
    const std::string_view options = view.substr(colon + 1);
    SPARSENET_RETURN_IF_ERROR(set_options(options, &arch).with_context(context));
    // The blocks of the authors' scripts for ImageNet, unless the name or an option gives others.
    const bool named = base.find("-v") != std::string_view::npos || arch.family != Family::kSparseNet;
    const bool given = options.substr(0, 7) == "blocks=" || options.find(",blocks=") != std::string_view::npos;
    if (arch.stem == Stem::kImageNet && !named && !given) arch.blocks = {6, 8, 10, 12};
  }
  SPARSENET_RETURN_IF_ERROR(check_architecture(arch).with_context(context));
  return arch;
}

Result<Architecture> parse_architecture(const std::string& text) {
  return guarded("reading an architecture", [&] { return parse(text); });
}

std::string to_string(const Architecture& arch) {
  char epsilon[32];
  const auto printed =
      std::to_chars(epsilon, epsilon + sizeof epsilon, arch.bn_epsilon);  // shortest that reads back the same
  std::string common = "classes=" + std::to_string(arch.classes) + ",bn-eps=" + std::string(epsilon, printed.ptr);
  if (arch.image_size != 0) common += ",image-size=" + std::to_string(arch.image_size);
  if (arch.family == Family::kResNet) {
    const char* shortcut = arch.shortcut == Shortcut::kConv ? ",shortcut=conv" : "";
    return "resnet" + std::to_string(arch.depth) + ":" + common + shortcut;
  }
  const bool sparse = arch.family == Family::kSparseNet, bottleneck = arch.layer == Layer::kBottleneck;
  std::string text = sparse ? "sparsenet-" : "densenet-";
  text += !bottleneck ? "basic" : sparse && arch.attention != Attention::kNone ? "abc" : "bc";
  text += ":blocks=" + join(arch.blocks) + ",k=" + std::to_string(arch.k);
  if (sparse) text += ",path=" + std::to_string(arch.path) + ",keep=" + join({arch.keep_far, arch.keep_near});
  text += std::string(",attention=") + attention_name(arch.attention);
  if (bottleneck) text += arch.pre_relu ? ",pre-relu=1" : ",pre-relu=0";
  return text + (arch.stem == Stem::kImageNet ? ",stem=imagenet," : ",stem=cifar,") + common;
}

Result<Graph> build_graph(const Architecture& arch, uint64_t seed) {
  return guarded("building a network", [&]() -> Result<Graph> {
    const std::string context = "architecture " + quoted(to_string(arch));
    SPARSENET_RETURN_IF_ERROR(check_architecture(arch).with_context(context));
    Result<Graph> graph = arch.family == Family::kResNet ? build_resnet(arch, seed) : build_sparsenet(arch, seed);
    if (!graph.ok()) return graph.status().with_context(context);
    return graph;
  });
}

std::vector<std::string> known_architectures() {
  std::vector<std::string> names;
  for (const char* kind : {"basic", "bc", "abc"}) {
    for (const char* version : {"v0", "v1", "v2", "v3", "v4"}) {
      names.push_back(std::string("sparsenet-") + kind + "-" + version);
    }
  }
  for (const char* name : {"densenet-40-12", "densenet-bc-100-12", "densenet-bc-190-40", "resnet20", "resnet32",
                           "resnet44", "resnet56", "resnet110"}) {
    names.emplace_back(name);
  }
  return names;
}

}  // namespace sparsenet

#include "converter/normalisation.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace sparsenet::converter {
namespace {

constexpr double kLargestPixel = 255;

struct Preset {
  const char* name;
  std::vector<double> mean, std_dev;  // for 0..255 pixels, R, G, B; a single value applies to every channel
};

// imagenet: the values that torchvision's models are trained with. cifar10: those of the SparseNet and DenseNet papers.
const std::vector<Preset>& presets() {
  static const std::vector<Preset> rows{
      {"imagenet", {123.675, 116.28, 103.53}, {58.395, 57.12, 57.375}},
      {"cifar10", {125.3, 123.0, 113.9}, {63.0, 62.1, 66.7}},
      {"none", {0}, {1}},
      {"0..1", {0}, {kLargestPixel}},
      {"-1..1", {127.5}, {127.5}},
  };
  return rows;
}

bool any(const std::vector<double>& values, bool (*test)(double)) {
  return std::any_of(values.begin(), values.end(), test);
}

// Whether the values can only be meant for pixels of 0..1: for 0..255 pixels, a standard deviation below 2 would mean
// images without contrast. A list that is not given stands for 0 or 1, which mean the same on both scales.
bool looks_like_unit_range(const NormalisationOptions& options) {
  return !any(options.std_dev, [](double value) { return value >= 2; }) &&
         !any(options.mean, [](double value) { return value > 1; });
}

// Whether one list seems to be for pixels of 0..1 and the other for 0..255.
bool looks_mixed(const NormalisationOptions& options) {
  const bool small_mean = any(options.mean, [](double value) { return value > 0 && value < 1; });
  const bool large_mean = any(options.mean, [](double value) { return value > 2; });
  const bool small_std = any(options.std_dev, [](double value) { return value < 1; });
  const bool large_std = any(options.std_dev, [](double value) { return value >= 2; });
  return (small_mean && large_std) || (large_mean && small_std);
}

Status check_count(const char* option, size_t count, const Shape& input) {
  const int64_t channels = input.size() == 4 ? input[1] : 0;
  if (channels == 0) {
    return invalid_argument(std::string(option) + ": expected a network whose input is an image, [N, C, H, W]; found " +
                            to_string(input));
  }
  if (static_cast<int64_t>(count) == channels) return {};
  return invalid_argument(std::string(option) + ": expected " + std::to_string(channels) +
                          " values (one per channel of input " + to_string(input) + "), found " +
                          std::to_string(count));
}

Status apply_preset(const Preset& preset, const Shape& input, Metadata* metadata) {
  const std::string option = std::string("--normalize ") + preset.name;
  const auto channels = static_cast<size_t>(input.size() == 4 ? input[1] : 0);
  const bool one_for_all = preset.mean.size() == 1;
  SPARSENET_RETURN_IF_ERROR(check_count(option.c_str(), one_for_all ? channels : preset.mean.size(), input));
  metadata->mean.clear();
  metadata->std_dev.clear();
  for (size_t c = 0; c < channels; ++c) {
    const size_t from = one_for_all ? 0 : metadata->color_order == "BGR" ? channels - 1 - c : c;
    metadata->mean.push_back(static_cast<float>(preset.mean[from]));
    metadata->std_dev.push_back(static_cast<float>(preset.std_dev[from]));
  }
  return {};
}

}  // namespace

const std::vector<std::string>& normalisation_presets() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const Preset& preset : presets()) list.emplace_back(preset.name);
    return list;
  }();
  return names;
}

Status check_normalisation(const NormalisationOptions& options) {
  const bool lists = !options.mean.empty() || !options.std_dev.empty();
  if (!options.preset.empty()) {
    const std::vector<std::string>& names = normalisation_presets();
    if (std::find(names.begin(), names.end(), options.preset) == names.end()) {
      std::string known;
      for (const std::string& name : names) known += (known.empty() ? "" : ", ") + name;
      return invalid_argument("--normalize: expected one of " + known + "; found '" + options.preset + "'");
    }
    if (lists) return invalid_argument("--normalize: it sets mean and std; expected no --mean and --std beside it");
  }
  if (options.pixel_scale != 0) {
    if (options.pixel_scale != 1 && options.pixel_scale != 255) {
      return invalid_argument("--pixel-scale: expected 1 or 255, found " + std::to_string(options.pixel_scale));
    }
    if (!lists) return invalid_argument("--pixel-scale: it says what --mean and --std are for; expected one of them");
  }
  // Far beyond any image, but small enough that a float can represent them on both scales.
  constexpr double kLeast = 1e-30, kMost = 1e30;
  for (const double value : options.std_dev) {
    if (!(value >= kLeast && value <= kMost))
      return invalid_argument("--std: expected numbers above 0 (1e-30 to 1e30)");
  }
  for (const double value : options.mean) {
    if (!(std::abs(value) <= kMost)) return invalid_argument("--mean: expected numbers from -1e30 to 1e30");
  }
  return {};
}

Status apply_normalisation(const NormalisationOptions& options, const Shape& input, Metadata* metadata,
                           std::vector<std::string>* notes) {
  if (!options.given()) return {};
  SPARSENET_RETURN_IF_ERROR(check_normalisation(options));
  for (const Preset& preset : presets()) {
    if (options.preset == preset.name) return apply_preset(preset, input, metadata);
  }
  if (!options.mean.empty()) SPARSENET_RETURN_IF_ERROR(check_count("--mean", options.mean.size(), input));
  if (!options.std_dev.empty()) SPARSENET_RETURN_IF_ERROR(check_count("--std", options.std_dev.size(), input));

  const bool by_rule = options.pixel_scale == 0;
  const bool unit_range = by_rule ? looks_like_unit_range(options) : options.pixel_scale == 1;
  const double factor = unit_range ? kLargestPixel : 1;
  // A list that is not given keeps the values of a .snet file; if there are none, it stands for the scale's 0 or 1.
  const auto set = [&](const std::vector<double>& given, double missing, std::vector<float>* stored) {
    std::vector<double> values = given;
    if (given.empty() && stored->empty() && unit_range) values.assign(static_cast<size_t>(input[1]), missing);
    if (!values.empty()) stored->clear();
    for (const double value : values) stored->push_back(static_cast<float>(value * factor));
  };
  set(options.mean, 0, &metadata->mean);
  set(options.std_dev, 1, &metadata->std_dev);

  if (by_rule && unit_range) {
    notes->push_back(
        "--mean and --std are taken as 0..1 values, because every std is below 2 and every mean at most 1: stored for "
        "pixels of 0..255 as mean " +
        number_list(metadata->mean) + " and std " + number_list(metadata->std_dev) +
        "; --pixel-scale 255 takes them as 0..255 values");
  } else if (by_rule && looks_mixed(options)) {
    notes->push_back(
        "--mean and --std look as if one were for pixels of 0..1 and the other for 0..255; both are taken as 0..255 "
        "values; --pixel-scale 1 takes both as 0..1 values");
  }
  return {};
}

bool parse_number_list(const std::string& text, std::vector<double>* out) {
  std::stringstream stream(text);
  std::string item;
  while (std::getline(stream, item, ',')) {
    char* end = nullptr;
    const double value = std::strtod(item.c_str(), &end);
    if (item.empty() || end != item.c_str() + item.size() || !std::isfinite(static_cast<float>(value))) return false;
    out->push_back(value);
  }
  return !out->empty() && text.back() != ',';
}

std::string number_list(const std::vector<float>& values) {
  std::string list;
  for (const float value : values) {
    char text[32];
    for (int digits = 6; digits <= 9; ++digits) {
      std::snprintf(text, sizeof text, "%.*g", digits, static_cast<double>(value));
      if (std::strtof(text, nullptr) == value) break;
    }
    list += (list.empty() ? "" : ",") + std::string(text);
  }
  return list;
}

}  // namespace sparsenet::converter

#include "support/train_goldens.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

namespace sparsenet::test {
namespace {

const std::string kFolder = std::string(SPARSENET_SOURCE_DIR) + "/tests/goldens/train/data/";

// IEEE 754 binary16. The goldens contain no infinities or NaN.
double from_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

bool read_numbers(std::istream& in, std::vector<double>& numbers) {
  size_t count = 0;
  if (!(in >> count) || count > 1u << 24) return false;
  numbers.resize(count);
  for (double& number : numbers) in >> number;
  return !in.fail();
}

bool read_option(std::istream& in, TrainGolden& golden) {
  std::string key, value;
  if (!(in >> key >> value)) return false;
  TrainOptions& o = golden.options;
  if (key == "optimizer") {
    o.optimizer = value == "adam" ? Optimizer::kAdam : value == "adamw" ? Optimizer::kAdamW : Optimizer::kSgd;
    return value == "sgd" || value == "adam" || value == "adamw";
  }
  const auto number = static_cast<float>(std::atof(value.c_str()));
  if (key == "nesterov") {
    o.nesterov = number != 0.f;
  } else if (key == "decay_all") {
    o.decay_all = number != 0.f;
  } else if (key == "accumulate") {
    o.accumulate = static_cast<int>(number);
  } else {
    float* const target = key == "lr"                ? &golden.learning_rate
                          : key == "momentum"        ? &o.momentum
                          : key == "weight_decay"    ? &o.weight_decay
                          : key == "label_smoothing" ? &o.label_smoothing
                          : key == "clip_norm"       ? &o.clip_norm
                          : key == "beta1"           ? &o.beta1
                          : key == "beta2"           ? &o.beta2
                          : key == "epsilon"         ? &o.epsilon
                                                     : nullptr;
    if (!target) return false;
    *target = number;
  }
  return true;
}

bool read_line(const std::string& line, std::istream& blob, TrainGolden& golden) {
  std::istringstream in(line);
  std::string key, name;
  in >> key;
  if (key == "arch") return static_cast<bool>(in >> golden.arch);
  if (key == "batch") return static_cast<bool>(in >> golden.batch);
  if (key == "gradient-batch") return static_cast<bool>(in >> golden.gradient_batch);
  if (key == "loss") return static_cast<bool>(in >> golden.loss);
  if (key == "correct") return static_cast<bool>(in >> golden.correct);
  if (key == "losses64") return read_numbers(in, golden.losses64);
  if (key == "losses32") return read_numbers(in, golden.losses32);
  if (key == "option") return read_option(in, golden);
  if (key == "values") return (in >> name) && read_numbers(in, golden.values[name]);
  if (key != "gradient") return false;
  GoldenGradient gradient;
  size_t count = 0;
  double scale = 0;
  if (!(in >> gradient.name >> count >> scale >> gradient.norm) || count > 1u << 24) return false;
  gradient.values.assign(count, 0.0);
  if (gradient.norm != 0) {
    for (double& value : gradient.values) {
      char bytes[2] = {0, 0};
      if (!blob.read(bytes, 2)) return false;
      const auto low = static_cast<unsigned char>(bytes[0]), high = static_cast<unsigned char>(bytes[1]);
      value = scale * from_half(static_cast<uint16_t>(low | high << 8));
    }
  }
  golden.gradients.push_back(std::move(gradient));
  return true;
}

}  // namespace

Result<TrainGolden> read_train_golden(const std::string& name) {
  const std::string path = kFolder + name + ".txt";
  std::ifstream text(path), blob(kFolder + name + ".f16", std::ios::binary);
  if (!text) return not_found(path + ": cannot be read");
  TrainGolden golden;
  for (std::string line; std::getline(text, line);) {
    if (!read_line(line, blob, golden)) return invalid_model(path + ": cannot read '" + line.substr(0, 60) + "'");
  }
  if (golden.batch < 1 || golden.arch.empty() || golden.losses64.empty()) return invalid_model(path + ": incomplete");
  golden.options.batch = golden.batch;
  return golden;
}

std::vector<std::string> train_golden_variants() {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder, error)) {
    const std::string name = entry.path().stem().string();
    if (name.rfind("variant-", 0) == 0) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace sparsenet::test

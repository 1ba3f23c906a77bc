#include "support/train_data.h"

#include <cmath>

namespace sparsenet::test {
namespace {

// FNV-1a, 64 bits (G. Fowler, L. C. Noll, P. Vo).
uint64_t name_hash(const std::string& name) {
  uint64_t value = 0xCBF29CE484222325u;
  for (const char c : name) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return value;
}

// The output function of splitmix64 at hash + (index + 1) golden.
uint64_t bits(uint64_t hash, size_t index) {
  uint64_t z = hash + (static_cast<uint64_t>(index) + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// In [-1, 1), a multiple of 2^-23. Multiplying it by a power of two or adding another such number is exact, so its bits
// do not depend on how a compiler contracts products and sums.
double centred(uint64_t hash, size_t index) {
  return static_cast<double>(static_cast<int64_t>(bits(hash, index) >> 40) - (int64_t{1} << 23)) * 0x1p-23;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

std::vector<float> train_parameter(const std::string& name, const Shape& shape) {
  const uint64_t hash = name_hash(name);
  std::vector<float> values(static_cast<size_t>(element_count(shape)));
  const double fan = static_cast<double>(values.size()) / static_cast<double>(shape[0]);
  const bool last = name == "fc.weight" || name == "linear.weight";
  const double bound = std::sqrt(6.0 / fan) * (last ? 0.25 : 1.0);
  const bool scale = shape.size() == 1 && ends_with(name, ".weight");
  for (size_t i = 0; i < values.size(); ++i) {
    const double u = centred(hash, i);
    values[i] = static_cast<float>(shape.size() > 1 ? u * bound : scale ? 1.0 + 0.5 * u : 0.125 * u);
  }
  return values;
}

void set_train_parameters(Graph& graph) {
  for (Value& value : graph.values) {
    if (!value.is_constant || value.type != DataType::kFloat32) continue;
    if (ends_with(value.name, ".weight") || ends_with(value.name, ".bias")) {
      value.constant = Tensor::from(value.shape, train_parameter(value.name, value.shape));
    }
  }
}

TrainData train_data(int64_t count, int64_t classes, const Shape& image) {
  TrainData data;
  data.image = image;
  data.count = count;
  const auto channels = static_cast<size_t>(image[0]), rows = static_cast<size_t>(image[1]),
             columns = static_cast<size_t>(image[2]);
  const uint64_t labels = name_hash("labels"), noise = name_hash("images"), patterns = name_hash("patterns");
  data.images.resize(static_cast<size_t>(count) * data.image_size());
  size_t i = 0;
  for (size_t n = 0; n < static_cast<size_t>(count); ++n) {
    const auto label = static_cast<size_t>(bits(labels, n) % static_cast<uint64_t>(classes));
    data.labels.push_back(static_cast<int32_t>(label));
    for (size_t c = 0; c < channels; ++c) {
      for (size_t y = 0; y < rows; ++y) {
        for (size_t x = 0; x < columns; ++x, ++i) {
          const size_t patch = ((label * channels + c) * 4 + y * 4 / rows) * 4 + x * 4 / columns;
          data.images[i] = static_cast<float>(0.25 * centred(noise, i) + centred(patterns, patch));
        }
      }
    }
  }
  return data;
}

}  // namespace sparsenet::test

#include "zoo/initialize.h"

#include <cmath>

#include "base/checksum.h"

namespace sparsenet {
namespace {

constexpr uint64_t rotate(uint64_t x, int bits) {
  return (x << bits) | (x >> (64 - bits));
}

constexpr double kTwoPi = 6.283185307179586476925286766559;

}  // namespace

RandomBits::RandomBits(uint64_t seed) {
  for (uint64_t& word : state_) {  // splitmix64
    seed += 0x9E3779B97F4A7C15u;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    word = z ^ (z >> 31);
  }
}

uint64_t RandomBits::next() {
  auto& s = state_;
  const uint64_t result = rotate(s[0] + s[3], 23) + s[0];
  const uint64_t shifted = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= shifted;
  s[3] = rotate(s[3], 45);
  return result;
}

double RandomBits::uniform() {
  return static_cast<double>((next() >> 11) + 1) * 0x1p-53;
}

double NormalGenerator::next() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const double radius = std::sqrt(-2.0 * std::log(bits_.uniform()));
  const double angle = kTwoPi * bits_.uniform();
  spare_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

std::vector<float> he_normal(size_t count, int64_t fan, uint64_t seed, const std::string& name) {
  NormalGenerator generator(xxh64(name.data(), name.size(), seed));
  const double deviation = std::sqrt(2.0 / static_cast<double>(fan));
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(deviation * generator.next());
  return values;
}

}  // namespace sparsenet

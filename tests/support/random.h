// A small seeded generator with the same stream for every compiler and library (unlike std distributions).
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sparsenet::test {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 0x1234567ull) {}

  // splitmix64, from its published recurrence.
  uint64_t next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  double real() { return static_cast<double>(next() >> 11) * 0x1p-53; }         // [0, 1)
  double real(double low, double high) { return low + (high - low) * real(); }  // [low, high)
  int integer(int low, int high) {                                              // both inclusive
    return low + static_cast<int>(next() % static_cast<uint64_t>(high - low + 1));
  }
  size_t index(size_t count) { return static_cast<size_t>(next() % count); }  // [0, count)
  bool chance(double p) { return real() < p; }
  double normal() {  // Box-Muller, using one value of the pair
    const double u = 1 - real(), v = real();
    return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v);
  }
  template <class T>
  const T& pick(const std::vector<T>& list) {
    return list[index(list.size())];
  }

 private:
  uint64_t state_;
};

}  // namespace sparsenet::test

// Random numbers that are the same on every machine.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace sparsenet::plugin_check {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() {  // SplitMix64
    uint64_t x = state_ += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  int32_t integer(int32_t low, int32_t high) {  // both included
    return low + static_cast<int32_t>(next() % static_cast<uint64_t>(int64_t{high} - low + 1));
  }
  float real(float low, float high) {
    return low + (high - low) * (static_cast<float>(next() >> 40) / static_cast<float>(1 << 24));
  }
  bool chance(float probability) { return real(0.f, 1.f) < probability; }
  template <class T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[integer(0, static_cast<int32_t>(values.size()) - 1)];
  }

 private:
  uint64_t state_;
};

}  // namespace sparsenet::plugin_check

// Random initial weights: the same bits on every machine with the same C library, whatever the order in which they are
// asked for.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet {

// xoshiro256++ (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021), seeded through splitmix64
// as its authors advise. It is our own code because the distributions of <random> differ between standard libraries.
class RandomBits {
 public:
  explicit RandomBits(uint64_t seed);
  uint64_t next();
  double uniform();  // in (0, 1], 53 bits

 private:
  std::array<uint64_t, 4> state_;
};

// Normal variates by the transform of Box and Muller (1958), in double precision.
class NormalGenerator {
 public:
  explicit NormalGenerator(uint64_t seed) : bits_(seed) {}
  double next();  // mean 0, variance 1

 private:
  RandomBits bits_;
  double spare_ = 0;
  bool has_spare_ = false;
};

// He initialisation (arXiv 1502.01852, eq. 14): `count` normal variates of standard deviation sqrt(2 / fan). The stream
// depends only on the seed and the name, so a tensor keeps its values when others are added or change their size.
std::vector<float> he_normal(size_t count, int64_t fan, uint64_t seed, const std::string& name);

}  // namespace sparsenet

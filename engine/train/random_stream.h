// Independent streams of random bits for the parts of a training, each a function of its purpose, the seed and a few
// numbers.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "base/checksum.h"
#include "zoo/initialize.h"

namespace sparsenet {

inline RandomBits random_stream(std::string_view purpose, uint64_t seed, std::initializer_list<int64_t> numbers) {
  uint64_t hash = xxh64(purpose.data(), purpose.size(), seed);
  for (const int64_t number : numbers) {
    uint8_t bytes[8];  // in the same order on every host
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(static_cast<uint64_t>(number) >> (8 * i));
    hash = xxh64(bytes, sizeof bytes, hash);
  }
  return RandomBits(hash);
}

// Uniform in [0, limit), limit > 0: the lowest 2^64 mod limit numbers are drawn again, so that every remainder is
// equally likely.
inline uint64_t random_below(RandomBits& bits, uint64_t limit) {
  const uint64_t incomplete = (0 - limit) % limit;  // 2^64 mod limit
  uint64_t value = bits.next();
  while (value < incomplete) value = bits.next();
  return value % limit;
}

}  // namespace sparsenet

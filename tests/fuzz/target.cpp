#include "fuzz/target.h"

#include <algorithm>
#include <cstring>

// Defined by libFuzzer or by replay.cpp.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace sparsenet::fuzz {

// SplitMix64 (S. Vigna, public domain algorithm): works with any seed.
uint64_t Random::next() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void mutate_bytes(Bytes& bytes, size_t most) {
  const size_t size = std::min(bytes.size(), most);
  bytes.resize(std::max<size_t>(most, 1));
  bytes.resize(LLVMFuzzerMutate(bytes.data(), size, bytes.size()));
}

const Target* find_target(const char* name) {
  for (const Target* target : all_targets()) {
    if (std::strcmp(target->name, name) == 0) return target;
  }
  return nullptr;
}

}  // namespace sparsenet::fuzz

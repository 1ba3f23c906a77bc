// A fuzz target is a parser and everything that a program does after it, fed with arbitrary bytes. An input is a file
// as a user would have it, so that every finding can be passed to the programs unchanged.
//
// libfuzzer.cpp runs one target under libFuzzer; replay.cpp runs all targets on the inputs in corpus/ and findings/,
// without libFuzzer. A run must end the process (trap, sanitizer, time, memory) if something is wrong, and otherwise
// return.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sparsenet::fuzz {

using Bytes = std::vector<uint8_t>;

// A mutator's reproducible choices.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
  uint64_t next();
  size_t below(size_t count) { return count == 0 ? 0 : static_cast<size_t>(next() % count); }
  bool one_in(size_t count) { return below(count) == 0; }

 private:
  uint64_t state_;
};

struct Target {
  const char* name;
  size_t longest;  // the longest input that libFuzzer tries
  void (*run)(const uint8_t* data, size_t size);
  // Changes a file into another one of at most `most` bytes whose checksums and containers are valid, so that the
  // search gets past them. Null: libFuzzer's own mutations are enough.
  void (*mutate)(Random& random, Bytes& bytes, size_t most) = nullptr;
};

// All targets, in an explicit table. find_target returns null if none has this name.
const std::vector<const Target*>& all_targets();
const Target* find_target(const char* name);

// Changes bytes without knowledge of a format: libFuzzer's mutations, including its dictionary and recorded
// comparisons.
void mutate_bytes(Bytes& bytes, size_t most);

}  // namespace sparsenet::fuzz

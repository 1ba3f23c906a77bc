// What a fuzz target is: a parser with all that follows it in a program, fed with arbitrary bytes. An input is a file
// as a user would have it, so that every finding can be given to the programs as it is.
//
// libfuzzer.cpp runs one target under libFuzzer, replay.cpp all targets over the inputs in corpus/ and findings/,
// without it. A run must end the process (trap, sanitizer, time, memory) where something is wrong, and else return.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sparsenet::fuzz {

using Bytes = std::vector<uint8_t>;

// Repeatable choices of a mutator.
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
  size_t longest;  // input that libFuzzer tries
  void (*run)(const uint8_t* data, size_t size);
  // Changes a file into another of at most `most` bytes whose checksums and containers hold, so that the search reaches
  // what lies behind them. Null: libFuzzer's own changes are enough.
  void (*mutate)(Random& random, Bytes& bytes, size_t most) = nullptr;
};

// All of them, in an explicit table. Null: none has this name.
const std::vector<const Target*>& all_targets();
const Target* find_target(const char* name);

// Changes bytes without knowledge of a format: libFuzzer's mutations, dictionary and learnt comparisons included.
void mutate_bytes(Bytes& bytes, size_t most);

}  // namespace sparsenet::fuzz

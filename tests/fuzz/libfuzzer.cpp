// The functions that libFuzzer calls. The target is chosen by the environment variable SPARSENET_FUZZ_TARGET (one
// program for all, so that it is linked once; libFuzzer restarts itself for merging, which an argument would not
// survive). "list" prints the targets, with the longest input of each.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "fuzz/target.h"

namespace {

const sparsenet::fuzz::Target& chosen() {
  static const sparsenet::fuzz::Target* const target = [] {
    const char* name = std::getenv("SPARSENET_FUZZ_TARGET");
    if (name != nullptr && std::strcmp(name, "list") == 0) {
      for (const auto* known : sparsenet::fuzz::all_targets()) std::printf("%s %zu\n", known->name, known->longest);
      std::exit(0);
    }
    const sparsenet::fuzz::Target* found = name == nullptr ? nullptr : sparsenet::fuzz::find_target(name);
    if (found == nullptr) {
      std::fprintf(stderr, "error: expected one of these in SPARSENET_FUZZ_TARGET:");
      for (const auto* known : sparsenet::fuzz::all_targets()) std::fprintf(stderr, " %s", known->name);
      std::fprintf(stderr, "\n");
      std::exit(2);
    }
    return found;
  }();
  return *target;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  (void)chosen();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  chosen().run(data, size);
  return 0;
}

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  // A file with a broken container is a valid input, too.
  sparsenet::fuzz::Random random(seed);
  if (chosen().mutate == nullptr || random.one_in(8)) return LLVMFuzzerMutate(data, size, max_size);
  sparsenet::fuzz::Bytes bytes(data, data + size);
  chosen().mutate(random, bytes, max_size);
  if (bytes.empty() || bytes.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, bytes.data(), bytes.size());
  return bytes.size();
}

// Model files for targets: in memory as the runtime requires, and modified so that layout and checksum stay valid.
#pragma once

#include <cstdlib>
#include <memory>

#include "fuzz/target.h"

namespace sparsenet::fuzz {

struct FreeAligned {
  void operator()(uint8_t* bytes) const { std::free(bytes); }
};
using Aligned = std::unique_ptr<uint8_t, FreeAligned>;

// Aligned to 64 and exactly as large as requested, so that the sanitizer detects access to the first byte beyond it.
Aligned aligned(size_t bytes);
Aligned aligned_copy(const uint8_t* data, size_t size);

// Whether the plans of a file are small enough to be run. `data` is aligned.
bool plans_are_small(const uint8_t* data, size_t size);

// Makes footer, sizes and checksum what they would be in a valid file.
void repair_model(Bytes& bytes);
void mutate_model(Random& random, Bytes& bytes, size_t most);

}  // namespace sparsenet::fuzz

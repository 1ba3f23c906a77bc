// Model files for targets: in memory as the runtime wants it, and changed so that layout and checksum hold.
#pragma once

#include <cstdlib>
#include <memory>

#include "fuzz/target.h"

namespace sparsenet::fuzz {

struct FreeAligned {
  void operator()(uint8_t* bytes) const { std::free(bytes); }
};
using Aligned = std::unique_ptr<uint8_t, FreeAligned>;

// At a multiple of 64 and exactly as large as asked, so that the sanitizer sees the first byte beyond it.
Aligned aligned(size_t bytes);
Aligned aligned_copy(const uint8_t* data, size_t size);

// Whether running the plans of a file is worth waiting for. `data` is aligned.
bool plans_are_small(const uint8_t* data, size_t size);

// Footer, sizes and checksum as they would be if the file were sound.
void repair_model(Bytes& bytes);
void mutate_model(Random& random, Bytes& bytes, size_t most);

}  // namespace sparsenet::fuzz

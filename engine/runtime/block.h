// Block: zeroed, aligned memory that says so when there is none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "runtime/executor.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace sparsenet {

class Block {
 public:
  static constexpr size_t kHugePage = size_t{2} << 20;

  bool allocate(size_t bytes) {
    // Large blocks ask for huge pages: weights are read once a run from end to end, and a page walk every 4 KB of it
    // shows.
    const size_t alignment = bytes >= kHugePage ? kHugePage : rt::kAlignment;
    const size_t rounded = (bytes + alignment) / alignment * alignment;
    if (rounded < bytes) return false;
    memory_.reset(static_cast<uint8_t*>(std::aligned_alloc(alignment, rounded)));
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (memory_ && alignment == kHugePage) madvise(memory_.get(), rounded, MADV_HUGEPAGE);
#endif
    if (memory_) std::memset(memory_.get(), 0, rounded);
    return memory_ != nullptr;
  }
  uint8_t* get() const {
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(uint8_t* p) const { std::free(p); }
  };
  std::unique_ptr<uint8_t, Free> memory_;
};

}  // namespace sparsenet

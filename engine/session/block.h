// Block: zeroed, aligned memory, either allocated or borrowed from the caller. A failed allocation is reported, not
// thrown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "runtime/bound_steps.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace sparsenet {

class Block {
 public:
  static constexpr size_t kHugePage = size_t{2} << 20;

  bool allocate(size_t bytes) {
    // Large blocks ask for huge pages: weights are read from end to end once per run, and a page walk every 4 KB would
    // take noticeable time.
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
  // `at` must be aligned to rt::kAlignment and outlive the block.
  void borrow(uint8_t* at, size_t bytes) {
    memory_.reset();
    borrowed_ = at;
    if (bytes > 0) std::memset(at, 0, bytes);
  }
  uint8_t* get() const {
    return borrowed_ ? borrowed_ : memory_.get();
  }

 private:
  struct Free {
    void operator()(uint8_t* p) const { std::free(p); }
  };
  std::unique_ptr<uint8_t, Free> memory_;
  uint8_t* borrowed_ = nullptr;
};

// Returns freed memory to the system, which the heap would keep: to be called after planning, which needs megabytes of
// small allocations, and before blocks are allocated that stay.
inline void return_free_heap() {
#if defined(__GLIBC__)
  (void)malloc_trim(0);
#endif
}

}  // namespace sparsenet

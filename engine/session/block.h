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

// Large blocks are mappings of their own. AddressSanitizer sees what is written beyond a block only if the heap has it.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SPARSENET_BLOCKS_ON_HEAP
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || !defined(__linux__) || !defined(MADV_HUGEPAGE)
#define SPARSENET_BLOCKS_ON_HEAP
#endif

namespace sparsenet {

// Frees a block's memory.
struct ReleaseBlock {
  void* mapping = nullptr;  // if the memory is part of one
  size_t mapped_bytes = 0;
  void operator()(uint8_t* p) const {
#if !defined(SPARSENET_BLOCKS_ON_HEAP)
    if (mapping) {
      ::munmap(mapping, mapped_bytes);
      return;
    }
#endif
    std::free(p);
  }
};

class Block {
 public:
  static constexpr size_t kHugePage = size_t{2} << 20;

  // kLater: the system gives large blocks their memory as they are written to.
  enum class Touch { kNow, kLater };

  bool allocate(size_t bytes, Touch touch = Touch::kNow) {
    // Large blocks ask for huge pages: weights are read from end to end once per run, and a page walk every 4 KB would
    // take noticeable time.
#if !defined(SPARSENET_BLOCKS_ON_HEAP)
    if (bytes >= kHugePage) return map(bytes, touch);
#endif
    (void)touch;
    const size_t rounded = (bytes + rt::kAlignment) / rt::kAlignment * rt::kAlignment;
    if (rounded < bytes) return false;
    memory_ = {static_cast<uint8_t*>(std::aligned_alloc(rt::kAlignment, rounded)), ReleaseBlock{}};
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
#if !defined(SPARSENET_BLOCKS_ON_HEAP)
  bool map(size_t bytes, Touch touch) {
    const size_t with_margin = bytes + kHugePage;
    if (with_margin < bytes) return false;
    void* mapping = ::mmap(nullptr, with_margin, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) return false;
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(mapping) + kHugePage - 1) / kHugePage * kHugePage;
    memory_ = {reinterpret_cast<uint8_t*>(begin), ReleaseBlock{mapping, with_margin}};
    // A last, partly used huge page would be backed in whole.
    madvise(memory_.get(), bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
    if (touch == Touch::kNow) std::memset(memory_.get(), 0, bytes);
    return true;
  }
#endif

  std::unique_ptr<uint8_t, ReleaseBlock> memory_;
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

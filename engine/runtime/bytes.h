// Arithmetic with sizes of memory that may come from a file. They are counted in 64 bits on every machine, and sums and
// products saturate at the largest number, so that an overflow cannot pass for a small size.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace sparsenet::rt {

constexpr size_t kAlignment = 64;
// The largest size that is accepted: half of what a size_t holds, which leaves room for what allocators add.
constexpr uint64_t kMostBytes = SIZE_MAX / 2;

inline uint64_t add_bytes(uint64_t a, uint64_t b) {
  const uint64_t sum = a + b;
  return sum < a ? UINT64_MAX : sum;
}

inline uint64_t multiply_bytes(uint64_t bytes, uint32_t times) {
  return times > 0 && bytes > UINT64_MAX / times ? UINT64_MAX : bytes * times;
}

// Rounds up to a multiple of kAlignment.
inline uint64_t aligned_bytes(uint64_t bytes) {
  return add_bytes(bytes, kAlignment - 1) / kAlignment * kAlignment;
}

// Cuts one block of memory into parts at multiples of kAlignment.
class MemoryLayout {
 public:
  // Adds a part of `bytes` bytes and returns where it begins, which means nothing if fits() is false in the end.
  size_t take(uint64_t bytes) {
    const uint64_t at = end_;
    end_ = add_bytes(end_, aligned_bytes(bytes));
    return static_cast<size_t>(at);
  }
  bool fits() const { return end_ <= kMostBytes; }
  uint64_t end() const { return end_; }

 private:
  uint64_t end_ = 0;
};

}  // namespace sparsenet::rt

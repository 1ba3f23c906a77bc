// Sizes of memory that a file may have chosen. They are counted in 64 bits on every machine, and what is beyond those
// stays at the largest number, so that no sum is ever smaller than one of its parts.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace sparsenet::rt {

constexpr size_t kAlignment = 64;
// More than can be addressed here, with room for what allocators add.
constexpr uint64_t kMostBytes = SIZE_MAX / 2;

inline uint64_t add_bytes(uint64_t a, uint64_t b) {
  const uint64_t sum = a + b;
  return sum < a ? UINT64_MAX : sum;
}

inline uint64_t multiply_bytes(uint64_t bytes, uint32_t times) {
  return times > 0 && bytes > UINT64_MAX / times ? UINT64_MAX : bytes * times;
}

// Up to a multiple of kAlignment.
inline uint64_t aligned_bytes(uint64_t bytes) {
  return add_bytes(bytes, kAlignment - 1) / kAlignment * kAlignment;
}

// Cuts one block of memory into parts at multiples of kAlignment.
class MemoryLayout {
 public:
  // Where a part of so many bytes begins; of no meaning once !fits().
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

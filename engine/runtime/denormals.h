// Denormals are float32 numbers below 1.2e-38. Some CPUs compute with them in microcode, up to 100 times slower than
// with other numbers, so while steps run they count as zero, as inputs and as results. This is a mode of each thread:
// the bits FTZ and DAZ of MXCSR on x86, FZ of FPCR on AArch64 and of FPSCR on 32-bit ARM, Cortex-M included. RISC-V has
// no such mode (nor the cost, on the cores that we know of), and neither has a CPU without floating-point registers.
#pragma once

#include <stdint.h>

namespace sparsenet::rt {

#if defined(__SSE__)
constexpr uint32_t kFlushBits = 0x8040;
inline uint32_t float_mode() {
  return __builtin_ia32_stmxcsr();
}
inline void set_float_mode(uint32_t mode) {
  __builtin_ia32_ldmxcsr(mode);
}
#elif defined(__aarch64__)
constexpr uint32_t kFlushBits = uint32_t{1} << 24;
inline uint32_t float_mode() {
  uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return static_cast<uint32_t>(mode);  // the upper half is reserved
}
inline void set_float_mode(uint32_t mode) {
  asm volatile("msr fpcr, %0" : : "r"(static_cast<uint64_t>(mode)) : "memory");
}
#elif defined(__arm__) && defined(__ARM_FP) && !defined(__SOFTFP__)
constexpr uint32_t kFlushBits = uint32_t{1} << 24;
inline uint32_t float_mode() {
  uint32_t mode;
  asm volatile("vmrs %0, fpscr" : "=r"(mode));
  return mode;
}
inline void set_float_mode(uint32_t mode) {
  asm volatile("vmsr fpscr, %0" : : "r"(mode) : "memory");
}
#else
constexpr uint32_t kFlushBits = 0;
inline uint32_t float_mode() {
  return 0;
}
inline void set_float_mode(uint32_t) {}
#endif

// During its lifetime the calling thread counts denormals as zero, if that is `wanted`; then its mode is restored.
class FlushDenormals {
 public:
  explicit FlushDenormals(bool wanted) : before_(wanted ? float_mode() : 0), changes_(wanted && !flushes(before_)) {
    if (changes_) set_float_mode(before_ | kFlushBits);
  }
  ~FlushDenormals() {
    if (changes_) set_float_mode(before_);
  }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  static bool flushes(uint32_t mode) { return (mode & kFlushBits) == kFlushBits; }

  uint32_t before_;
  bool changes_;
};

}  // namespace sparsenet::rt

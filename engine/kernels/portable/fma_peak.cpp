// Measures the multiply-add peak of one core: independent chains of vector FMAs in registers, nothing else.
#include <time.h>

#include "kernels/portable/simd.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// 12 chains hide four cycles of latency on two or three units.
__attribute__((noinline)) float rounds(int count) {
  constexpr int kChains = 12;
  V acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = splat(static_cast<float>(i));
  V factor = splat(0.999f), term = splat(0.001f);
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
  asm volatile("" : "+x"(factor), "+x"(term));  // hides the values from the compiler
#endif
  for (int r = 0; r < count; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) acc[i] = acc[i] * factor + term;
  }
  V sum{};
  for (int i = 0; i < kChains; ++i) sum += acc[i];
  return sum[0];
}

}  // namespace

double fma_peak(double seconds);
double fma_peak(double seconds) {
  constexpr int kRounds = 20000;
  volatile float sink = 0;
  double best = 0;
  const double end = now() + seconds;
  do {
    const double start = now();
    sink = sink + rounds(kRounds);
    const double took = now() - start;
    const double rate = 2.0 * kRounds * 12 * kLanes / took * 1e-9;
    if (rate > best) best = rate;
  } while (now() < end);
  return best;
}

}  // namespace sparsenet::rt::SPARSENET_ISA

// The instruction sets that the portable kernels were compiled for, and the one in use.
#pragma once

#include "runtime/gather.h"
#include "runtime/kernel.h"

namespace sparsenet {

struct Isa {
  const char* name;  // "avx512", "avx2", "baseline" (SSE2; NEON on ARM), "compact"
  const rt::Kernel* const* kernels;
  double (*fma_peak)(double seconds);  // measures the peak of one core, in GFLOP/s
  // Writes `count` pixels from pixel `first` on, each with all its channels side by side; `first` goes to `to`.
  void (*gather_pixels)(const rt::Gather& from, int64_t first, int count, float* to);
};

// The widest one that this CPU has, or the one that the environment variable SPARSENET_ISA names (if the CPU has it;
// anything else is ignored with one line on stderr). Decided at the first call; thread-safe.
const Isa& active_isa();

}  // namespace sparsenet

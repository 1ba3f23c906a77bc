// The instruction sets that the portable kernels were compiled for, and the one in use.
#pragma once

#include "runtime/gather.h"
#include "runtime/kernel.h"

namespace sparsenet {

struct Isa {
  const char* name;  // "avx512", "avx2", "baseline" (SSE2; NEON on ARM), "compact"
  const rt::Kernel* const* kernels;
  const rt::Kernel* const* large_weights;  // for sessions with large weights, to be tried before the others; or null
  double (*fma_peak)(double seconds);      // measures the peak of one core, in GFLOP/s
  // Writes `count` pixels from pixel `first` on, each with all its channels side by side; `first` goes to `to`.
  void (*gather_pixels)(const rt::Gather& from, int64_t first, int count, float* to);
};

// The widest one that this CPU has, or the one that the environment variable SPARSENET_ISA names (if the CPU has it;
// anything else is ignored with one line on stderr). Decided at the first call; thread-safe.
const Isa& active_isa();

// Kernels that compute products of bfloat16 numbers, to be tried before the others; null if there are none for this CPU
// and the instruction set in use. They need AVX-512 and either AMX or AVX512-BF16; the environment variable
// SPARSENET_BF16=amx|avx512_bf16 forces one (anything else is ignored with one line on stderr). Decided at the first
// call; thread-safe.
const rt::Kernel* const* bf16_kernels();

// The kernels of int8 for this CPU and the instruction set in use. The environment variable
// SPARSENET_INT8=amx|avx512_vnni|avx512|avx_vnni|avx2|baseline, or neon_dot|neon|baseline on Arm, forces others (if the
// CPU has them; anything else is ignored with one line on stderr). All of them give the same bits. Decided at the first
// call; thread-safe.
const rt::Kernel* const* integer_kernels();

}  // namespace sparsenet

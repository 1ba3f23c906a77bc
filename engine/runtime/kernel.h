// Kernel: an implementation of one kind of step.
//
// Kernels stand in ordered lists, fastest first, the plain reference last; the first that supports a step gets it. A
// kernel works in memory that the caller provides: `state` (its own prepared data), `weights` (packed constants),
// `scratch` (per thread, contents undefined between calls), `shared` (one for all chunks of a run, contents undefined
// between runs). Work is cut into `chunks` that may run in any order, on any
// thread, at the same time; the cut depends on the step alone, never on the thread count, so results are the same bits
// for every number of threads.
#pragma once

#include "step/step.h"

namespace sparsenet::rt {

// Bytes, counted in 64 bits on every machine: a file may have chosen the step's sizes. The checks of steps keep their
// products below 2^31 elements, of which a kernel may need a few hundred times as much. A kernel that allocates where
// it is asked, and cannot, needs UINT64_MAX bytes of weights.
struct KernelNeeds {
  uint64_t state_bytes;
  uint64_t weight_bytes;
  uint64_t scratch_bytes;  // per thread; once for a kernel with own_threads
  uint64_t shared_bytes;
  int32_t chunks;  // >= 1
};

// Where a bound step lives. State and weights are zeroed, and all are 64-byte aligned.
struct Place {
  uint8_t* arena;  // where run() will find the activations
  void* state;
  float* weights;
  void* shared;
};

inline constexpr char kNoMemory[] = "no memory left";

// Types as bits: those of a step's views, and those of its parameters.
constexpr uint32_t of_views(DataType type) {
  return 1u << static_cast<uint32_t>(type);
}
constexpr uint32_t of_parameters(DataType type) {
  return of_views(type) << 16;
}
constexpr uint32_t kFloat32 = of_views(DataType::kFloat32) | of_parameters(DataType::kFloat32);
constexpr uint32_t kHalfParameters = of_views(DataType::kFloat32) | of_parameters(DataType::kFloat16);

// Tables name what a kernel has: {.name = "...", ...}.
struct Kernel {
  const char* name;     // op, variant, type and instruction set: "conv2d_winograd4_f32_avx512"
  const char* backend;  // "portable", "onednn", "reference"
  bool (*supports)(const Step& step);
  // What the step needs with this kernel; sizes are rounded up to 64 by the caller.
  void (*query)(const Step& step, KernelNeeds* needs);
  // Fills state and weights. Returns null, or a message with static storage (kNoMemory: this one).
  const char* (*prepare)(const Step& step, const Place& place);
  void (*run)(const void* state, int32_t chunk, void* scratch);
  void (*destroy)(void* state) = nullptr;  // null: nothing to release
  bool own_threads = false;                // runs its single chunk on the caller's OpenMP threads (oneDNN)
  // A second round over the same chunks, after all of the first are done: for what depends on all of them (a mean).
  void (*finish)(const void* state, int32_t chunk, void* scratch) = nullptr;
  // Packs the parameters anew, one part of `parts`: before every run of a step with variable parameters, whose packed
  // weights share one place with other steps'. So it writes all that run() reads, or nothing depends on.
  void (*refresh)(const void* state, int32_t part, int32_t parts) = nullptr;
  uint32_t types = kFloat32;       // all that the steps may have that it runs
  bool copies_parameters = false;  // in prepare; without a refresh such a kernel is not used for those steps
};

}  // namespace sparsenet::rt

// Kernel: an implementation of one kind of step.
//
// Kernels are in ordered lists, fastest first, the plain reference last; the first one that supports a step gets it. A
// kernel works in memory that the caller provides: `state` (its own prepared data), `weights` (packed constants),
// `scratch` (per thread, contents undefined between calls), `shared` (one for all chunks of a run, contents undefined
// between runs). Work is cut into `chunks` that may run in any order, on any thread, at the same time. The cut depends
// on the step alone, never on the number of threads, so results are bitwise the same for every number of threads.
#pragma once

#include "step/step.h"

namespace sparsenet::rt {

// Sizes in bytes. They are counted in 64 bits on every machine, because a step's sizes may come from a file: the checks
// of steps keep their products below 2^31 elements, but a kernel may need a few hundred times as much. A kernel whose
// query() has to allocate memory, and cannot, reports UINT64_MAX bytes of weights.
struct KernelNeeds {
  uint64_t state_bytes;
  uint64_t weight_bytes;
  uint64_t scratch_bytes;  // per thread; once for a kernel with own_threads
  uint64_t shared_bytes;
  int32_t chunks;  // >= 1
};

// The memory of a bound step. State and weights are zeroed, and all parts are aligned to 64 bytes.
struct Place {
  uint8_t* arena;  // where run() will find the activations
  void* state;
  float* weights;
  void* shared;
};

inline constexpr char kNoMemory[] = "no memory left";

// Data types as bits of a mask: the types of a step's views in its lower half, those of its parameters in the upper.
constexpr uint32_t of_views(DataType type) {
  return 1u << static_cast<uint32_t>(type);
}
constexpr uint32_t of_parameters(DataType type) {
  return of_views(type) << 16;
}
constexpr uint32_t kFloat32 = of_views(DataType::kFloat32) | of_parameters(DataType::kFloat32);
constexpr uint32_t kInt8 = of_views(DataType::kInt8) | of_parameters(DataType::kInt8) | of_parameters(DataType::kInt32);
constexpr uint32_t kHalfParameters = of_views(DataType::kFloat32) | of_parameters(DataType::kFloat16);

// Definitions of kernels name the members that they set: {.name = "...", ...}.
struct Kernel {
  const char* name;     // op, variant, type and instruction set: "conv2d_winograd4_f32_avx512"
  const char* backend;  // "portable", "onednn", "reference"
  bool (*supports)(const Step& step);
  // What the step needs with this kernel; the caller rounds sizes up to multiples of 64.
  void (*query)(const Step& step, KernelNeeds* needs);
  // Fills state and weights. Returns null, or a message with static storage, which is kNoMemory if memory ran out.
  const char* (*prepare)(const Step& step, const Place& place);
  void (*run)(const void* state, int32_t chunk, void* scratch);
  void (*destroy)(void* state) = nullptr;  // null: nothing to release
  bool own_threads = false;                // runs its single chunk on the caller's OpenMP threads (oneDNN)
  // A second round over the same chunks, after the first round is done: for what depends on all chunks, such as a mean.
  void (*finish)(const void* state, int32_t chunk, void* scratch) = nullptr;
  // Packs one of `parts` parts of the parameters anew. It is called before every run of a step with variable
  // parameters, because the packed weights of all such steps share one place. So it must write everything that run()
  // reads and that results depend on.
  void (*refresh)(const void* state, int32_t part, int32_t parts) = nullptr;
  uint32_t types = kFloat32;       // all types that the steps it runs may have
  bool copies_parameters = false;  // in prepare(); without `refresh` such a kernel cannot run steps with variable ones
};

}  // namespace sparsenet::rt

// Executor: binds the steps of a plan to kernels in memory that the caller provides, and runs them.
//
// This file and the kernels are the whole of what a device needs to run a plan: no heap, no exceptions, no RTTI, no
// operating system. Order of calls: measure() -> allocate -> bind() -> execute() as often as wanted -> release().
#pragma once

#include "runtime/bytes.h"
#include "runtime/kernel.h"

namespace sparsenet::rt {

// How chunks reach threads. `parallel` calls function(context, chunk, thread) once for every chunk, with thread <
// threads, and returns when all are done; a null `parallel` means one thread.
struct Parallel {
  void (*parallel)(void* self, int32_t chunks, void (*function)(void* context, int32_t chunk, int32_t thread),
                   void* context);
  void* self;
  int32_t threads;
};

constexpr int32_t kRefreshParts = 8;  // that weights are packed in, where there are several threads

struct Bound {
  const Kernel* kernel;
  void* state;
  int32_t chunks;
  bool refresh;  // the kernel packs its weights before every run
};

// All at most kMostBytes.
struct Sizes {
  size_t state_bytes, weight_bytes;
  size_t scratch_bytes;         // of one thread
  size_t single_scratch_bytes;  // of a step that runs on the calling thread alone: it may use the other threads' too
  size_t shared_bytes;          // of all threads together, for one step
  size_t refreshed_bytes;       // packed weights that are made anew before every run: one place for all such steps
};

// The first kernel in the lists that supports the step; null if there is none. Lists are terminated by null.
const Kernel* choose(const Step& step, const Kernel* const* const* lists, int32_t list_count);

// Chooses a kernel for one step and adds what it needs to *sizes; false where none supports it (bound->kernel is then
// null), or where it needs more than kMostBytes.
bool measure_step(const Step& step, const Kernel* const* const* lists, int32_t list_count, Bound* bound, Sizes* sizes);

// Chooses a kernel for every step (bound[i].kernel) and adds up what they need. Returns the index of a step for which
// measure_step fails, or -1.
int32_t measure(const Step* steps, int32_t count, const Kernel* const* const* lists, int32_t list_count, Bound* bound,
                Sizes* sizes);

// Prepares all steps in zeroed, 64-byte aligned memory of the measured sizes. Returns null, or a message with static
// storage and the failing step's index in *failed; steps before it must still be released.
struct Memory {
  uint8_t *arena, *state, *weights, *shared, *refreshed;
};
const char* bind(const Step* steps, int32_t count, const Memory& memory, Bound* bound, int32_t* failed);
// The same of one step, which need not stay; what its views and `strided` point to must. Moves memory->state and
// memory->weights on.
const char* bind_step(const Step& step, Memory* memory, Bound* bound);

void execute_step(const Bound& bound, uint8_t* scratch, size_t scratch_stride, const Parallel& parallel);
void execute(const Bound* bound, int32_t count, uint8_t* scratch, size_t scratch_stride, const Parallel& parallel);
void release(const Bound* bound, int32_t count);

}  // namespace sparsenet::rt

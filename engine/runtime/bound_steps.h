// BoundSteps: the steps of a plan, each with the kernel that runs it, in memory that the caller provides. Devices use
// it directly; hosts use it through BoundPlan (session/bound_plan.h).
//
// This folder, the steps and the kernels are all that a device needs to run a plan: no heap, no exceptions, no RTTI, no
// operating system. Order of calls: measure_step() for each step; then the caller provides memory of the measured
// sizes; init(); bind() for each step, in the same order; execute() as often as wanted; release().
#pragma once

#include "runtime/bytes.h"
#include "runtime/kernel.h"

namespace sparsenet::rt {

// How chunks reach threads. `parallel` calls function(context, chunk, thread) once for every chunk, with thread <
// threads, and returns when all are done; a null `parallel` means one thread.
struct ThreadHook {
  void (*parallel)(void* self, int32_t chunks, void (*function)(void* context, int32_t chunk, int32_t thread),
                   void* context);
  void* self;
  int32_t threads;
};

// Kernels to choose from: lists terminated by null, searched one after the other.
struct KernelLists {
  const Kernel* const* const* lists;
  int32_t count;
};

struct BoundStep {
  const Kernel* kernel;
  void* state;
  int32_t chunks;
  bool refresh;  // the kernel packs its weights before every run
};

// What all steps of a plan together need in addition to the arena. Sizes are in bytes, each at most kMostBytes.
struct PlanNeeds {
  size_t state_bytes, weight_bytes;
  size_t scratch_bytes;         // of one thread
  size_t single_scratch_bytes;  // of a step that is one call on the calling thread: it may use all threads' scratch
  size_t shared_bytes;          // of all threads together, for one step
  size_t refreshed_bytes;       // packed weights that are made anew before every run: one place for all such steps
  int32_t most_chunks;          // the most chunks that a step is cut into
};

enum class Fit : uint8_t { kFits = 0, kNoKernel, kTooLarge };

// The first kernel in the lists that supports the step; null if there is none.
const Kernel* choose(const Step& step, const KernelLists& kernels);

// Chooses a kernel for one step and adds what it needs to *needs. kNoKernel: none supports it (bound->kernel is then
// null); kTooLarge: it needs more than kMostBytes.
Fit measure_step(const Step& step, const KernelLists& kernels, BoundStep* bound, PlanNeeds* needs);

// The same for all steps. Returns the index of the first that does not fit, with the reason in *fit, or -1.
int32_t measure_steps(const Step* steps, int32_t count, const KernelLists& kernels, BoundStep* bound, PlanNeeds* needs,
                      Fit* fit);

// Bytes of scratch for `threads` threads, without what they share. The result may be more than kMostBytes.
uint64_t scratch_of(const PlanNeeds& needs, int32_t threads);

// Zeroed memory of a plan, in parts that begin at multiples of kAlignment. Except for the arena, nobody else may use it
// while the steps are bound. `scratch` has scratch_of() bytes, `scratch_stride` of them per thread, which need not be
// zero.
struct PlanMemory {
  uint8_t *arena, *state, *weights, *refreshed, *scratch, *shared;
  size_t scratch_stride;
};

class BoundSteps {
 public:
  // `steps` must be what measure_step() has filled in: bind() takes kernels and chunks from there.
  void init(BoundStep* steps, const PlanMemory& memory, const ThreadHook& threads, bool flush_denormals);

  // Prepares the next step. The step itself need not outlive the call, but what its views and `strided` point to must.
  // Returns null, or a message with static storage; after a failure no more steps can be bound, and count() does not
  // include the one that failed.
  const char* bind(const Step& step);

  int32_t count() const { return count_; }
  const BoundStep& operator[](int32_t index) const { return steps_[index]; }
  uint8_t* arena() const { return memory_.arena; }
  const ThreadHook& threads() const { return threads_; }
  void set_threads(const ThreadHook& threads) { threads_ = threads; }  // at most as many as there is scratch for

  // Runs the steps [begin, end), with denormals flushed if init() was told so.
  void execute(int32_t begin, int32_t end) const;

  void release();

 private:
  BoundStep* steps_;
  int32_t count_;
  bool flush_denormals_;
  PlanMemory memory_;
  uint8_t *next_state_, *next_weights_;  // for the step that is bound next
  ThreadHook threads_;
};

}  // namespace sparsenet::rt

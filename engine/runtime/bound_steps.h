// BoundSteps: the steps of a plan, each with the kernel that runs it, in memory that the caller provides. Devices use
// it as it is; hosts through BoundPlan (session/bound_plan.h).
//
// This folder, the steps and the kernels are the whole of what a device needs to run a plan: no heap, no exceptions, no
// RTTI, no operating system. Order of calls: measure_step() for each step; the caller finds memory of these
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

// Kernels to choose from: lists that end with null, the first before the others.
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

// What the steps of a plan need beside the arena, together. Bytes, all at most kMostBytes.
struct PlanNeeds {
  size_t state_bytes, weight_bytes;
  size_t scratch_bytes;         // of one thread
  size_t single_scratch_bytes;  // of a step that runs on the calling thread alone: it may use the other threads' too
  size_t shared_bytes;          // of all threads together, for one step
  size_t refreshed_bytes;       // packed weights that are made anew before every run: one place for all such steps
  int32_t most_chunks;          // that a step is cut into
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

// Scratch of so many threads, without what they share; it may be more than kMostBytes.
uint64_t scratch_of(const PlanNeeds& needs, int32_t threads);

// Zeroed memory of a plan, in parts that begin at multiples of kAlignment; all but the arena may be used by nobody else
// meanwhile. `scratch`: scratch_of() bytes, `scratch_stride` of them for each thread; its contents need not be zero.
struct PlanMemory {
  uint8_t *arena, *state, *weights, *refreshed, *scratch, *shared;
  size_t scratch_stride;
};

class BoundSteps {
 public:
  // `steps` has been measured; bind() finds kernels and chunks there.
  void init(BoundStep* steps, const PlanMemory& memory, const ThreadHook& threads, bool flush_denormals);

  // Prepares the next step, which need not stay; what its views and `strided` point to must. Returns null, or a message
  // with static storage: then it is the last, and does not count.
  const char* bind(const Step& step);

  int32_t count() const { return count_; }
  const BoundStep& operator[](int32_t index) const { return steps_[index]; }
  uint8_t* arena() const { return memory_.arena; }
  const ThreadHook& threads() const { return threads_; }
  void set_threads(const ThreadHook& threads) { threads_ = threads; }  // of as many threads, or fewer

  // Runs the steps [begin, end), with denormals flushed if init() was told so.
  void execute(int32_t begin, int32_t end) const;

  void release();

 private:
  BoundStep* steps_;
  int32_t count_;
  bool flush_denormals_;
  PlanMemory memory_;
  uint8_t *next_state_, *next_weights_;  // of the step that is bound next
  ThreadHook threads_;
};

}  // namespace sparsenet::rt

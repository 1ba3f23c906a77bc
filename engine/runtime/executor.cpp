#include "runtime/executor.h"

namespace sparsenet::rt {
namespace {

// False beyond kMostBytes.
bool add(uint64_t bytes, size_t* sum) {
  const uint64_t total = add_bytes(*sum, aligned_bytes(bytes));
  if (total > kMostBytes) return false;
  *sum = static_cast<size_t>(total);
  return true;
}

bool raise(uint64_t bytes, size_t* most) {
  size_t size = 0;
  if (!add(bytes, &size)) return false;
  if (size > *most) *most = size;
  return true;
}

using ChunkRun = void (*)(const void* state, int32_t chunk, void* scratch);

struct Context {
  ChunkRun run;
  const void* state;
  uint8_t* scratch;
  size_t scratch_stride;
};

void run_chunk(void* context, int32_t chunk, int32_t thread) {
  const auto& c = *static_cast<const Context*>(context);
  c.run(c.state, chunk, c.scratch + static_cast<size_t>(thread) * c.scratch_stride);
}

void run_chunks(ChunkRun run, const Bound& bound, uint8_t* scratch, size_t scratch_stride, const Parallel& parallel) {
  if (bound.chunks == 1 || parallel.threads == 1 || !parallel.parallel) {
    for (int32_t chunk = 0; chunk < bound.chunks; ++chunk) run(bound.state, chunk, scratch);
    return;
  }
  Context context{run, bound.state, scratch, scratch_stride};
  parallel.parallel(parallel.self, bound.chunks, run_chunk, &context);
}

// `scratch` is not used: packing needs none.
void refresh_part(void* context, int32_t part, int32_t) {
  const Bound& bound = *static_cast<const Bound*>(context);
  bound.kernel->refresh(bound.state, part, kRefreshParts);
}

void refresh(const Bound& bound, const Parallel& parallel) {
  if (parallel.threads == 1 || !parallel.parallel) {
    bound.kernel->refresh(bound.state, 0, 1);
    return;
  }
  Bound copy = bound;
  parallel.parallel(parallel.self, kRefreshParts, refresh_part, &copy);
}

// A kernel whose copy of the parameters would be out of date after the first update.
bool outdated(const Step& step, const Kernel& kernel) {
  return step.variable && kernel.copies_parameters && !kernel.refresh;
}

}  // namespace

const Kernel* choose(const Step& step, const Kernel* const* const* lists, int32_t list_count) {
  for (int32_t i = 0; i < list_count; ++i) {
    for (const Kernel* const* kernel = lists[i]; *kernel; ++kernel) {
      if (!outdated(step, **kernel) && (*kernel)->supports(step)) return *kernel;
    }
  }
  return nullptr;
}

bool measure_step(const Step& step, const Kernel* const* const* lists, int32_t list_count, Bound* bound, Sizes* sizes) {
  const Kernel* kernel = choose(step, lists, list_count);
  *bound = {kernel, nullptr, 0, false};
  if (!kernel) return false;
  KernelNeeds needs{};
  kernel->query(step, &needs);
  *bound = {kernel, nullptr, needs.chunks, step.variable && kernel->refresh};
  const bool weights_fit = bound->refresh ? raise(needs.weight_bytes, &sizes->refreshed_bytes)
                                          : add(needs.weight_bytes, &sizes->weight_bytes);
  return weights_fit && add(needs.state_bytes, &sizes->state_bytes) &&
         raise(needs.scratch_bytes, kernel->own_threads ? &sizes->single_scratch_bytes : &sizes->scratch_bytes) &&
         raise(needs.shared_bytes, &sizes->shared_bytes);
}

int32_t measure(const Step* steps, int32_t count, const Kernel* const* const* lists, int32_t list_count, Bound* bound,
                Sizes* sizes) {
  *sizes = {};
  for (int32_t i = 0; i < count; ++i) {
    if (!measure_step(steps[i], lists, list_count, &bound[i], sizes)) return i;
  }
  return -1;
}

const char* bind_step(const Step& step, Memory* memory, Bound* bound) {
  KernelNeeds needs{};
  bound->kernel->query(step, &needs);
  if (needs.weight_bytes > kMostBytes) return kNoMemory;  // it was less when it was measured
  bound->state = memory->state;
  const Place place{memory->arena, memory->state,
                    reinterpret_cast<float*>(bound->refresh ? memory->refreshed : memory->weights), memory->shared};
  if (const char* message = bound->kernel->prepare(step, place)) return message;
  memory->state += static_cast<size_t>(aligned_bytes(needs.state_bytes));  // was measured, so it fits
  if (!bound->refresh) memory->weights += static_cast<size_t>(aligned_bytes(needs.weight_bytes));
  return nullptr;
}

const char* bind(const Step* steps, int32_t count, const Memory& memory, Bound* bound, int32_t* failed) {
  Memory left = memory;
  for (int32_t i = 0; i < count; ++i) {
    if (const char* message = bind_step(steps[i], &left, &bound[i])) {
      *failed = i;
      return message;
    }
  }
  return nullptr;
}

void execute_step(const Bound& bound, uint8_t* scratch, size_t scratch_stride, const Parallel& parallel) {
  if (bound.refresh) refresh(bound, parallel);
  run_chunks(bound.kernel->run, bound, scratch, scratch_stride, parallel);
  if (bound.kernel->finish) run_chunks(bound.kernel->finish, bound, scratch, scratch_stride, parallel);
}

void execute(const Bound* bound, int32_t count, uint8_t* scratch, size_t scratch_stride, const Parallel& parallel) {
  for (int32_t i = 0; i < count; ++i) execute_step(bound[i], scratch, scratch_stride, parallel);
}

void release(const Bound* bound, int32_t count) {
  for (int32_t i = 0; i < count; ++i) {
    if (bound[i].kernel->destroy) bound[i].kernel->destroy(bound[i].state);
  }
}

}  // namespace sparsenet::rt

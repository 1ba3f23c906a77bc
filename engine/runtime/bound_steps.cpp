#include "runtime/bound_steps.h"

#include "runtime/denormals.h"

namespace sparsenet::rt {
namespace {

constexpr int32_t kRefreshParts = 8;  // in which weights are packed if there are several threads

// Adds `bytes`, rounded up to kAlignment, to *sum; false if the sum is beyond kMostBytes.
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

void run_chunks(ChunkRun run, const BoundStep& bound, uint8_t* scratch, size_t scratch_stride,
                const ThreadHook& threads) {
  if (bound.chunks == 1 || threads.threads == 1 || !threads.parallel) {
    for (int32_t chunk = 0; chunk < bound.chunks; ++chunk) run(bound.state, chunk, scratch);
    return;
  }
  Context context{run, bound.state, scratch, scratch_stride};
  threads.parallel(threads.self, bound.chunks, run_chunk, &context);
}

// The thread's number is not used, because packing needs no scratch.
void refresh_part(void* context, int32_t part, int32_t) {
  const BoundStep& bound = *static_cast<const BoundStep*>(context);
  bound.kernel->refresh(bound.state, part, kRefreshParts);
}

void refresh(const BoundStep& bound, const ThreadHook& threads) {
  if (threads.threads == 1 || !threads.parallel) {
    bound.kernel->refresh(bound.state, 0, 1);
    return;
  }
  BoundStep copy = bound;
  threads.parallel(threads.self, kRefreshParts, refresh_part, &copy);
}

// Whether the kernel's copy of the parameters would be out of date after the first update.
bool outdated(const Step& step, const Kernel& kernel) {
  return step.conv.variable && kernel.copies_parameters && !kernel.refresh;
}

void add_types(const View* view, int32_t count, uint32_t* types) {
  for (; count > 0; ++view, --count) {
    if (view->segment_count > 0) *types |= of_views(view->type);
  }
}

void add_types(const Parameter* parameter, int32_t count, uint32_t* types) {
  for (; count > 0; ++parameter, --count) {
    if (*parameter) *types |= of_parameters(parameter->type);
  }
}

uint32_t types_of(const Step& step) {
  uint32_t types = 0;
  add_types(&step.in, 1, &types);
  add_types(&step.in2, 1, &types);
  add_types(&step.out, 1, &types);
  add_types(step.train.operands, step.train.operand_count, &types);
  add_types(&step.affine.scale, 1, &types);
  add_types(&step.affine.shift, 1, &types);
  add_types(&step.conv.weight, 1, &types);
  add_types(&step.conv.bias, 1, &types);
  add_types(step.attention.params, 8, &types);
  return types;
}

}  // namespace

const Kernel* choose(const Step& step, const KernelLists& kernels) {
  const uint32_t types = types_of(step);
  for (int32_t i = 0; i < kernels.count; ++i) {
    for (const Kernel* const* list = kernels.lists[i]; *list; ++list) {
      const Kernel& kernel = **list;
      const bool fits = (types & ~kernel.types) == 0;
      if (fits && !outdated(step, kernel) && kernel.supports(step)) return &kernel;
    }
  }
  return nullptr;
}

Fit measure_step(const Step& step, const KernelLists& kernels, BoundStep* bound, PlanNeeds* needs) {
  const Kernel* kernel = choose(step, kernels);
  *bound = {kernel, nullptr, 0, false};
  if (!kernel) return Fit::kNoKernel;
  KernelNeeds of_step{};
  kernel->query(step, &of_step);
  *bound = {kernel, nullptr, of_step.chunks, step.conv.variable && kernel->refresh};
  const int32_t chunks = bound->refresh && kRefreshParts > bound->chunks ? kRefreshParts : bound->chunks;
  if (chunks > needs->most_chunks) needs->most_chunks = chunks;
  const bool weights_fit = bound->refresh ? raise(of_step.weight_bytes, &needs->refreshed_bytes)
                                          : add(of_step.weight_bytes, &needs->weight_bytes);
  const bool fits =
      weights_fit && add(of_step.state_bytes, &needs->state_bytes) &&
      raise(of_step.scratch_bytes, kernel->own_threads ? &needs->single_scratch_bytes : &needs->scratch_bytes) &&
      raise(of_step.shared_bytes, &needs->shared_bytes);
  return fits ? Fit::kFits : Fit::kTooLarge;
}

int32_t measure_steps(const Step* steps, int32_t count, const KernelLists& kernels, BoundStep* bound, PlanNeeds* needs,
                      Fit* fit) {
  *needs = {};
  for (int32_t i = 0; i < count; ++i) {
    *fit = measure_step(steps[i], kernels, &bound[i], needs);
    if (*fit != Fit::kFits) return i;
  }
  return -1;
}

uint64_t scratch_of(const PlanNeeds& needs, int32_t threads) {
  const uint64_t all = multiply_bytes(needs.scratch_bytes, static_cast<uint32_t>(threads));
  return all > needs.single_scratch_bytes ? all : needs.single_scratch_bytes;
}

void BoundSteps::init(BoundStep* steps, const PlanMemory& memory, const ThreadHook& threads, bool flush_denormals) {
  steps_ = steps;
  count_ = 0;
  flush_denormals_ = flush_denormals;
  memory_ = memory;
  next_state_ = memory.state;
  next_weights_ = memory.weights;
  threads_ = threads;
}

const char* BoundSteps::bind(const Step& step) {
  BoundStep& bound = steps_[count_];
  KernelNeeds needs{};
  bound.kernel->query(step, &needs);
  if (needs.weight_bytes > kMostBytes) return kNoMemory;  // measured as less, so query() has run out of memory
  bound.state = next_state_;
  const Place place{memory_.arena, next_state_,
                    reinterpret_cast<float*>(bound.refresh ? memory_.refreshed : next_weights_), memory_.shared};
  if (const char* message = bound.kernel->prepare(step, place)) return message;
  next_state_ += static_cast<size_t>(aligned_bytes(needs.state_bytes));  // was measured, so it fits
  if (!bound.refresh) next_weights_ += static_cast<size_t>(aligned_bytes(needs.weight_bytes));
  ++count_;
  return nullptr;
}

void BoundSteps::execute(int32_t begin, int32_t end) const {
  const FlushDenormals flush(flush_denormals_);
  for (int32_t i = begin; i < end; ++i) {
    const BoundStep& bound = steps_[i];
    if (bound.refresh) refresh(bound, threads_);
    run_chunks(bound.kernel->run, bound, memory_.scratch, memory_.scratch_stride, threads_);
    if (bound.kernel->finish)
      run_chunks(bound.kernel->finish, bound, memory_.scratch, memory_.scratch_stride, threads_);
  }
}

void BoundSteps::release() {
  for (int32_t i = 0; i < count_; ++i) {
    if (steps_[i].kernel->destroy) steps_[i].kernel->destroy(steps_[i].state);
  }
  count_ = 0;
}

}  // namespace sparsenet::rt

#include "session/bound_plan.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "kernels/isa.h"
#include "kernels/reference/integers.h"
#include "kernels/reference/train_rounding.h"
#include "runtime/denormals.h"
#include "runtime/port_copy.h"
#include "session/half_parameters.h"
#include "step/step_kinds.h"

namespace sparsenet {
namespace {

Status backend_status(const char* message) {
  if (!message) return {};
  return message == rt::kNoMemory ? out_of_memory(message) : unsupported(message);
}

std::string of_node(const rt::Step& step) {
  return "node '" + std::string(step.name) + "': ";
}

}  // namespace

Status choose_backend(Backend wanted, int threads, const ThreadHook& hook, BindOptions* options) {
  if (threads < 0 || threads > 1024) {
    return invalid_argument("threads: expected 0 to 1024, found " + std::to_string(threads));
  }
  options->backend = find_backend(wanted);
  if (!options->backend) {
    return unsupported("backend '" + std::string(name(wanted)) +
                       "' is not in this build; it has: " + available_backends());
  }
  SPARSENET_RETURN_IF_ERROR(check_hook(hook));
  const bool has_hook = hook.threads > 0;
  if (has_hook && options->backend->parallel) {
    return unsupported(std::string("backend '") + options->backend->name +
                       "' has threads of its own and takes no thread hook");
  }
  options->thread_hook = hook;
  options->threads = has_hook ? hook.threads : threads == 0 ? usable_cpus() : threads;
  return {};
}

Status choose_precision(Precision wanted, BindOptions* options) {
  SPARSENET_RETURN_IF_ERROR(check_precision(wanted));
  const BackendEntry& backend = *options->backend;
  if (wanted == Precision::kBfloat16 && backend.backend != Backend::kAuto && backend.backend != Backend::kPortable) {
    return unsupported(std::string("precision bf16: backend '") + backend.name +
                       "' computes in float32 only; 'auto' and 'portable' have it");
  }
  options->precision = wanted;
  return {};
}

uint64_t PlanCost::scratch_bytes(int threads) const {
  return rt::add_bytes(rt::scratch_of(needs, threads), needs.shared_bytes);
}

uint64_t PlanCost::total_bytes(int threads) const {
  rt::MemoryLayout memory_layout;
  for (const uint64_t bytes :
       {uint64_t{arena_bytes}, uint64_t{needs.state_bytes}, weights_bytes(), scratch_bytes(threads)}) {
    (void)memory_layout.take(bytes);
  }
  return memory_layout.fits() ? memory_layout.end() : UINT64_MAX;
}

Result<PlanCost> measure_plan(const Plan& plan, const BindOptions& options, std::vector<rt::BoundStep>* bound) {
  // Before kernels are asked what they need: oneDNN's scratch depends on the number of threads.
  const BackendEntry& backend = *options.backend;
  if (backend.begin_run) SPARSENET_RETURN_IF_ERROR(backend_status(backend.begin_run(options.threads)));
  std::vector<rt::BoundStep> unused;
  if (!bound) bound = &unused;
  bound->assign(plan.steps.size(), {});
  const rt::Kernel* const* lists[kMaxOptionLists + kMaxKernelLists + 3];
  int32_t count = 0;
  if (options.precision == Precision::kBfloat16) lists[count++] = bf16_kernels();
  const bool own = backend.backend == Backend::kAuto || backend.backend == Backend::kPortable;
  if (options.large_weights && own && active_isa().large_weights) lists[count++] = active_isa().large_weights;
  count += backend.kernel_lists(lists + count);
  if (backend.backend != Backend::kReference) lists[count++] = integer_kernels();
  lists[count++] = rt::kIntegerReferenceKernels;
  lists[count++] = rt::kRoundingReferenceKernels;
  const rt::KernelLists kernels{lists, count};
  PlanCost cost;
  cost.arena_bytes = plan.arena_bytes;
  cost.lower_bound_bytes = plan.lower_bound_bytes + options.extra_bytes;
  if (options.extra_bytes > 0) {
    const uint64_t both = rt::add_bytes(rt::aligned_bytes(plan.arena_bytes), options.extra_bytes);
    if (both > rt::kMostBytes) return out_of_memory("inputs and outputs need more memory than can be addressed");
    cost.arena_bytes = static_cast<size_t>(both);
  }
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const rt::Step& step = plan.steps[i];
    rt::BoundStep& b = (*bound)[i];
    const rt::Fit fit = rt::measure_step(for_choice(step, kernels), kernels, &b, &cost.needs);
    if (fit == rt::Fit::kNoKernel) {
      return unsupported(of_node(step) + "backend '" + backend.name + "' has no kernel for " + rt::step_name(step.op));
    }
    uint64_t copies = cost.copied_bytes;
    if (needs_float32(step, *b.kernel)) copies = rt::add_bytes(copies, kept_copies_bytes(step, *b.kernel));
    if (fit == rt::Fit::kTooLarge || copies > rt::kMostBytes) {
      return out_of_memory(of_node(step) + "needs more memory than can be addressed");
    }
    cost.copied_bytes = static_cast<size_t>(copies);
  }
  return cost;
}

Result<MemoryReport> report_memory(const PlanCost& cost, const BindOptions& options) {
  const uint64_t total = cost.total_bytes(options.threads);
  if (total > rt::kMostBytes)
    return out_of_memory(options.owner + std::string(" needs more memory than can be addressed"));
  return MemoryReport{cost.arena_bytes, cost.lower_bound_bytes,
                      static_cast<size_t>(cost.scratch_bytes(options.threads)),
                      static_cast<size_t>(cost.weights_bytes()), static_cast<size_t>(total)};
}

Status BoundPlan::create(const Plan& plan, const BindOptions& options) {
  plan_ = &plan;
  backend_ = options.backend;
  flush_denormals_ = options.flush_denormals;
  threads_ = options.threads;
  SPARSENET_ASSIGN_OR_RETURN(PlanCost cost, measure_plan(plan, options, &bound_));
  ParameterMemory originals(plan, options.own_plan);  // before find_memory(), so that there is room
  rt::PlanMemory memory{};
  SPARSENET_RETURN_IF_ERROR(find_memory(cost, options, &memory));
  SPARSENET_RETURN_IF_ERROR(bind_steps(memory, &originals));
  if (threads_ > 1) start_threads(options, cost);
  describe_steps();
  return {};
}

Status BoundPlan::find_memory(const PlanCost& cost, const BindOptions& options, rt::PlanMemory* memory) {
  SPARSENET_ASSIGN_OR_RETURN(memory_, report_memory(cost, options));
  const std::string owner = options.owner;
  const size_t total = memory_.total_bytes;
  if (options.max_memory_bytes > 0 && total > options.max_memory_bytes) {
    return out_of_memory(owner + " needs " + std::to_string(total) + " bytes, more than the " +
                         std::to_string(options.max_memory_bytes) + " that it may take");
  }
  const std::pair<Block*, size_t> parts[] = {{&arena_, cost.arena_bytes},
                                             {&state_, cost.needs.state_bytes},
                                             {&weights_, memory_.weights_bytes},
                                             {&scratch_, memory_.scratch_bytes}};
  auto* at = static_cast<uint8_t*>(options.memory);
  if (at && reinterpret_cast<uintptr_t>(at) % rt::kAlignment != 0) {
    return invalid_argument("memory: expected an address that " + std::to_string(rt::kAlignment) + " divides");
  }
  if (at && options.memory_bytes < total) {
    return out_of_memory("memory: " + owner + " needs " + std::to_string(total) + " bytes, found " +
                         std::to_string(options.memory_bytes));
  }
  for (const auto& [block, bytes] : parts) {
    if (at) {
      block->borrow(at, bytes);
      at += static_cast<size_t>(rt::aligned_bytes(bytes));
    } else if (!block->allocate(bytes, block == &weights_ ? Block::Touch::kLater : Block::Touch::kNow)) {
      return out_of_memory(owner + " needs " + std::to_string(memory_.arena_bytes) + " bytes of arena, " +
                           std::to_string(memory_.weights_bytes) + " of weights and " +
                           std::to_string(memory_.scratch_bytes) + " of scratch");
    }
  }
  *memory = {arena_.get(),
             state_.get(),
             weights_.get(),
             weights_.get() + cost.needs.weight_bytes,
             scratch_.get(),
             scratch_.get() + rt::scratch_of(cost.needs, threads_),
             cost.needs.scratch_bytes};
  copies_ = weights_.get() + cost.needs.weight_bytes + cost.needs.refreshed_bytes;
  return {};
}

Status BoundPlan::bind_steps(const rt::PlanMemory& memory, ParameterMemory* originals) {
  steps_.init(bound_.data(), memory, {nullptr, nullptr, 1}, flush_denormals_);
  auto link = plan_->links.begin();
  uint8_t* copies = copies_;
  for (size_t i = 0; i < plan_->steps.size(); ++i) {
    rt::Step step = plan_->steps[i];
    for (; link != plan_->links.end() && link->step == i; ++link) {
      rt::param(step, link->slot).data = memory.arena + link->offset;
    }
    std::vector<std::vector<float>> temporary;
    if (needs_float32(step, *bound_[i].kernel)) copy_parameters(*bound_[i].kernel, &step, &copies, &temporary);
    if (const char* message = steps_.bind(step)) {
      return backend_status(message).with_context(of_node(step) + "kernel " + bound_[i].kernel->name);
    }
    originals->bound(plan_->steps[i], bound_[i].kernel->copies_parameters);
  }
  return {};
}

void BoundPlan::start_threads(const BindOptions& options, const PlanCost& cost) {
  if (options.thread_hook.threads > 0) {
    hooked_ = std::make_unique<HookedThreads>(options.thread_hook, cost.needs.most_chunks, flush_denormals_);
    steps_.set_threads(hooked_->handle());
  } else if (backend_->parallel) {
    steps_.set_threads({backend_->parallel, nullptr, threads_});
  } else {
    pool_ = std::make_unique<ThreadPool>(threads_, flush_denormals_);
    threads_ = pool_->size();
    steps_.set_threads(pool_->handle());
  }
}

void BoundPlan::describe_steps() {
  for (size_t i = 0; i < plan_->steps.size(); ++i) {
    StepInfo info;
    info.name = plan_->steps[i].name;
    info.op = rt::step_name(plan_->steps[i].op);
    info.kernel = bound_[i].kernel->name;
    info.backend = bound_[i].kernel->backend;
    info.is_copy = plan_->steps[i].is_copy;
    info.macs = plan_->step_macs[i];
    infos_.push_back(std::move(info));
  }
}

void BoundPlan::write(const rt::View& view, const float* data) {
  rt::copy_to_view(view, steps_.arena(), data);
}

void BoundPlan::read(const rt::View& view, float* data) const {
  rt::copy_from_view(view, steps_.arena(), data);
}

void BoundPlan::write(const PlanPort& port, const float* data) {
  rt::copy_real_to_view(port.view, affine_of(port), steps_.arena(), data);
}

void BoundPlan::read(const PlanPort& port, float* data) const {
  rt::copy_real_from_view(port.view, affine_of(port), steps_.arena(), data);
}

void BoundPlan::write_elements(const PlanPort& port, const void* data) {
  rt::copy_elements_to_view(port.view, steps_.arena(), data);
}

void BoundPlan::read_elements(const PlanPort& port, void* data) const {
  rt::copy_elements_from_view(port.view, steps_.arena(), data);
}

Status BoundPlan::begin_run() {
  if (backend_->begin_run) SPARSENET_RETURN_IF_ERROR(backend_status(backend_->begin_run(threads_)));
  if (flush_denormals_ && backend_->flush_denormals) backend_->flush_denormals(true);
  if (pool_) pool_->begin_run();
  return {};
}

void BoundPlan::execute(size_t begin, size_t end) {
  steps_.execute(static_cast<int32_t>(begin), static_cast<int32_t>(end));
}

void BoundPlan::execute_timed(size_t begin, size_t end) {
  using Clock = std::chrono::steady_clock;
  for (size_t i = begin; i < end; ++i) {
    const auto start = Clock::now();
    execute(i, i + 1);
    infos_[i].milliseconds += std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  }
}

Status BoundPlan::end_run() {
  if (pool_) pool_->end_run();
  if (flush_denormals_ && backend_->flush_denormals) backend_->flush_denormals(false);
  return backend_status(backend_->end_run ? backend_->end_run() : nullptr);
}

void BoundPlan::multiply_macs(int64_t factor) {
  for (StepInfo& info : infos_) info.macs *= factor;
}

void BoundPlan::reset_times() {
  for (StepInfo& info : infos_) info.milliseconds = 0;
}

}  // namespace sparsenet

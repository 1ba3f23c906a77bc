#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "base/guarded.h"
#include "format/plan_format.h"
#include "passes/pipeline.h"
#include "plan/plan.h"
#include "runtime/denormals.h"
#include "runtime/executor.h"
#include "runtime/port_copy.h"
#include "session/backend_table.h"
#include "session/block.h"
#include "session/hooked_threads.h"
#include "session/isa.h"
#include "session/thread_pool.h"
#include "step/step_names.h"

namespace sparsenet {
class Session::Impl {
 public:
  ~Impl() { rt::release(bound.data(), static_cast<int32_t>(prepared)); }

  // `stored`: the model's plans may be used; null: there are none.
  Status create(const Graph& graph, const Model* stored, const SessionOptions& options);
  // Plans, chooses kernels and fills in `memory`; allocates none of it.
  Status measure(const Graph& graph, const Model* stored, const SessionOptions& options);
  Status allocate(const SessionOptions& options);
  Status run(bool profiled);
  // What of a run was not as it should be.
  Status outcome() {
    if (hooked) SPARSENET_RETURN_IF_ERROR(hooked->take());
    return backend_status(backend->end_run ? backend->end_run() : nullptr);
  }
  static Status backend_status(const char* message) {
    if (!message) return {};
    return message == rt::kNoMemory ? out_of_memory(message) : unsupported(message);
  }

  // A shared one when it was stored, else `own`.
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<Plan> own;
  const BackendEntry* backend = nullptr;
  Block arena, state, weights, scratch;
  rt::Sizes sizes{};
  size_t scratch_stride = 0, thread_scratch = 0;
  std::vector<rt::Bound> bound;
  size_t prepared = 0;
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<HookedThreads> hooked;
  rt::Parallel parallel{nullptr, nullptr, 1};
  int threads = 1;
  bool flush_denormals = true;

  std::vector<TensorInfo> inputs, outputs;
  std::vector<StepInfo> steps;
  std::vector<BufferInfo> buffers;
  MemoryReport memory;
};

namespace {

// The plan that the session would make itself, from the model's file; null: there is none.
std::shared_ptr<const Plan> fitting_plan(const Model& model, const SessionOptions& options) {
  const bool fits = options.use_stored_plan && options.optimize &&
                    (options.backend == Backend::kAuto || options.backend == Backend::kPortable);
  const StoredPlan* stored = fits ? find_plan(model, "portable-f32", options.batch) : nullptr;
  return stored ? stored->plan : nullptr;
}

Result<std::shared_ptr<Plan>> plan_graph(const Graph& source, const SessionOptions& options) {
  Graph graph = source;
  SPARSENET_RETURN_IF_ERROR(graph.set_batch(options.batch));
  SPARSENET_RETURN_IF_ERROR(run_passes(&graph, options.optimize ? PassLevel::kAll : PassLevel::kRequired));
  Result<Plan> made = make_plan(graph);
  if (!made.ok()) return made.status();
  return std::make_shared<Plan>(std::move(*made));
}

}  // namespace

Status Session::Impl::allocate(const SessionOptions& options) {
  const std::pair<Block*, size_t> parts[] = {{&arena, memory.arena_bytes},
                                             {&state, sizes.state_bytes},
                                             {&weights, memory.weights_bytes},
                                             {&scratch, memory.scratch_bytes}};
  if (options.max_memory_bytes > 0 && memory.total_bytes > options.max_memory_bytes) {
    return out_of_memory("the session needs " + std::to_string(memory.total_bytes) + " bytes, more than the " +
                         std::to_string(options.max_memory_bytes) + " that it may take");
  }
  if (options.memory) {
    auto* at = static_cast<uint8_t*>(options.memory);
    if (reinterpret_cast<uintptr_t>(at) % rt::kAlignment != 0) {
      return invalid_argument("memory: expected an address that " + std::to_string(rt::kAlignment) + " divides");
    }
    if (options.memory_bytes < memory.total_bytes) {
      return out_of_memory("memory: the session needs " + std::to_string(memory.total_bytes) + " bytes, found " +
                           std::to_string(options.memory_bytes));
    }
    for (const auto& [block, bytes] : parts) {
      block->borrow(at, bytes);
      at += static_cast<size_t>(rt::aligned_bytes(bytes));
    }
    return {};
  }
  for (const auto& [block, bytes] : parts) {
    if (!block->allocate(bytes)) {
      return out_of_memory("the session needs " + std::to_string(memory.arena_bytes) + " bytes of arena, " +
                           std::to_string(memory.weights_bytes) + " of weights and " +
                           std::to_string(memory.scratch_bytes) + " of scratch");
    }
  }
  return {};
}

Status Session::Impl::measure(const Graph& graph, const Model* stored, const SessionOptions& options) {
  if (options.threads < 0 || options.threads > 1024) {
    return invalid_argument("threads: expected 0 to 1024, found " + std::to_string(options.threads));
  }
  backend = find_backend(options.backend);
  if (!backend) {
    return unsupported("backend '" + std::string(name(options.backend)) +
                       "' is not in this build; it has: " + available_backends());
  }
  SPARSENET_RETURN_IF_ERROR(check_hook(options.thread_hook));
  const bool has_hook = options.thread_hook.threads > 0;
  if (has_hook && backend->parallel) {
    return unsupported(std::string("backend '") + backend->name + "' has threads of its own and takes no thread hook");
  }
  flush_denormals = options.flush_denormals;
  threads = has_hook ? options.thread_hook.threads : options.threads == 0 ? usable_cpus() : options.threads;

  if (stored) plan = fitting_plan(*stored, options);
  if (!plan) {
    Result<std::shared_ptr<Plan>> made = plan_graph(graph, options);
    if (!made.ok()) return made.status();
    plan = own = std::move(*made);
  }

  // Before kernels are asked what they need: oneDNN's scratch depends on the number of threads.
  if (backend->begin_run) SPARSENET_RETURN_IF_ERROR(backend_status(backend->begin_run(threads)));
  const auto count = static_cast<int32_t>(plan->steps.size());
  bound.assign(plan->steps.size(), {});
  const rt::Kernel* const* lists[kMaxKernelLists];
  const int32_t list_count = backend->kernel_lists(lists);
  const int32_t missing = rt::measure(plan->steps.data(), count, lists, list_count, bound.data(), &sizes);
  if (missing >= 0) {
    const rt::Step& step = plan->steps[static_cast<size_t>(missing)];
    const std::string node = "node '" + std::string(step.name) + "': ";
    if (bound[static_cast<size_t>(missing)].kernel)
      return out_of_memory(node + "needs more memory than can be addressed");
    return unsupported(node + "backend '" + backend->name + "' has no kernel for " + step_name(step.op));
  }
  scratch_stride = sizes.scratch_bytes;
  const uint64_t all_threads = std::max<uint64_t>(rt::multiply_bytes(scratch_stride, static_cast<uint32_t>(threads)),
                                                  sizes.single_scratch_bytes);
  if (rt::add_bytes(all_threads, sizes.shared_bytes) > rt::kMostBytes) {
    return out_of_memory("the session needs more memory than can be addressed");
  }
  thread_scratch = static_cast<size_t>(all_threads);
  const size_t scratch_bytes = thread_scratch + sizes.shared_bytes;
  rt::Cutter cutter;
  for (const size_t bytes : {plan->arena_bytes, sizes.state_bytes, sizes.weight_bytes, scratch_bytes}) {
    (void)cutter.take(bytes);
  }
  if (!cutter.fits()) return out_of_memory("the session needs more memory than can be addressed");
  memory = {plan->arena_bytes, plan->lower_bound_bytes, scratch_bytes, sizes.weight_bytes,
            static_cast<size_t>(cutter.end())};
  return {};
}

Status Session::Impl::create(const Graph& graph, const Model* stored, const SessionOptions& options) {
  SPARSENET_RETURN_IF_ERROR(measure(graph, stored, options));
  SPARSENET_RETURN_IF_ERROR(allocate(options));
  const auto count = static_cast<int32_t>(plan->steps.size());
  int32_t failed = -1;
  const char* message = rt::bind(plan->steps.data(), count,
                                 {arena.get(), state.get(), weights.get(), scratch.get() + thread_scratch, nullptr},
                                 bound.data(), &failed);
  prepared = message ? static_cast<size_t>(failed) : plan->steps.size();
  if (message) {
    return backend_status(message).with_context("node '" + std::string(plan->steps[static_cast<size_t>(failed)].name) +
                                                "': kernel " + bound[static_cast<size_t>(failed)].kernel->name);
  }
  if (threads > 1) {
    if (options.thread_hook.threads > 0) {
      hooked = std::make_unique<HookedThreads>(options.thread_hook, rt::HookGuard::most_chunks(bound.data(), count),
                                               flush_denormals);
      parallel = hooked->handle();
    } else if (backend->parallel) {
      parallel = {backend->parallel, nullptr, threads};
    } else {
      pool = std::make_unique<ThreadPool>(threads, flush_denormals);
      threads = pool->size();
      parallel = pool->handle();
    }
  }

  for (const PlanPort& port : plan->inputs) inputs.push_back({port.name, DataType::kFloat32, port.shape});
  for (const PlanPort& port : plan->outputs) outputs.push_back({port.name, DataType::kFloat32, port.shape});
  for (size_t i = 0; i < plan->steps.size(); ++i) {
    StepInfo info;
    info.name = plan->steps[i].name;
    info.op = step_name(plan->steps[i].op);
    info.kernel = bound[i].kernel->name;
    info.backend = bound[i].kernel->backend;
    info.is_copy = plan->steps[i].is_copy;
    info.macs = plan->step_macs[i];
    steps.push_back(std::move(info));
  }
  for (const PlanBuffer& b : plan->buffers) buffers.push_back({b.name, b.offset, b.bytes, b.first, b.last});
  // Where kernels have packed all parameters, the originals can go.
  bool in_place = false;
  for (size_t i = 0; i < bound.size(); ++i) {
    const rt::Step& step = plan->steps[i];
    in_place = in_place || ((step.weight || step.bias || step.params[0]) && !bound[i].kernel->copies_parameters);
  }
  if (own && !in_place) std::vector<std::shared_ptr<const void>>().swap(own->parameter_owners);
  return {};
}

Result<Session> Session::create_from(const Graph& graph, const Model* model, const SessionOptions& options) {
  return guarded("making a session", [&]() -> Result<Session> {
    auto impl = std::make_unique<Impl>();
    SPARSENET_RETURN_IF_ERROR(impl->create(graph, model, options));
    return Session(std::move(impl));
  });
}

Result<Session> Session::create(const Graph& graph, const SessionOptions& options) {
  return create_from(graph, nullptr, options);
}

Result<Session> Session::create(const Model& model, const SessionOptions& options) {
  return create_from(model.graph, &model, options);
}

Result<MemoryReport> Session::measure(const Model& model, const SessionOptions& options) {
  return guarded("measuring a session", [&]() -> Result<MemoryReport> {
    Impl impl;
    SPARSENET_RETURN_IF_ERROR(impl.measure(model.graph, &model, options));
    return impl.memory;
  });
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

const std::vector<TensorInfo>& Session::inputs() const {
  return impl_->inputs;
}
const std::vector<TensorInfo>& Session::outputs() const {
  return impl_->outputs;
}
const std::vector<StepInfo>& Session::steps() const {
  return impl_->steps;
}
const std::vector<BufferInfo>& Session::buffers() const {
  return impl_->buffers;
}
MemoryReport Session::memory() const {
  return impl_->memory;
}
int Session::threads() const {
  return impl_->threads;
}
bool Session::uses_stored_plan() const {
  return impl_->own == nullptr;
}

namespace {

// Whether there is such a port and the caller's array fits it. `kind`: "input" or "output".
Status check_port(const std::vector<PlanPort>& ports, const char* kind, size_t index, const float* data,
                  size_t elements) {
  const std::string what = kind;
  if (index >= ports.size()) {
    return invalid_argument(what + " " + std::to_string(index) + ": the graph has " + std::to_string(ports.size()) +
                            " " + what + "s");
  }
  const PlanPort& port = ports[index];
  if (!data) return invalid_argument(what + " '" + port.name + "': expected a place of its data, found none");
  if (static_cast<int64_t>(elements) != element_count(port.shape)) {
    return invalid_argument(what + " '" + port.name + "': expected " + std::to_string(element_count(port.shape)) +
                            " elements of " + to_string(port.shape) + ", found " + std::to_string(elements));
  }
  return {};
}

}  // namespace

Status Session::set_input(size_t index, const float* data, size_t elements) {
  return guarded("setting an input", [&]() -> Status {
    SPARSENET_RETURN_IF_ERROR(check_port(impl_->plan->inputs, "input", index, data, elements));
    rt::copy_to_view(impl_->plan->inputs[index].view, impl_->arena.get(), data);
    return {};
  });
}

Status Session::get_output(size_t index, float* data, size_t elements) const {
  return guarded("reading an output", [&]() -> Status {
    SPARSENET_RETURN_IF_ERROR(check_port(impl_->plan->outputs, "output", index, data, elements));
    rt::copy_from_view(impl_->plan->outputs[index].view, impl_->arena.get(), data);
    return {};
  });
}

Status Session::Impl::run(bool profiled) {
  using Clock = std::chrono::steady_clock;
  if (backend->begin_run) SPARSENET_RETURN_IF_ERROR(backend_status(backend->begin_run(threads)));
  const bool tells_backend = flush_denormals && backend->flush_denormals;
  if (tells_backend) backend->flush_denormals(true);
  if (pool) pool->begin_run();
  {
    const rt::FlushDenormals flush(flush_denormals);
    for (size_t i = 0; i < bound.size(); ++i) {
      const auto start = profiled ? Clock::now() : Clock::time_point();
      rt::execute_step(bound[i], scratch.get(), scratch_stride, parallel);
      if (profiled) steps[i].milliseconds = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    }
  }
  if (pool) pool->end_run();
  if (tells_backend) backend->flush_denormals(false);
  return outcome();
}

Status Session::run() {
  return guarded("running a session", [this] { return impl_->run(false); });
}

Status Session::run_profiled() {
  return guarded("running a session", [this] { return impl_->run(true); });
}

double measure_fma_peak_gflops(double seconds) {
  return active_isa().fma_peak(seconds);
}

std::string version() {
  return SPARSENET_VERSION;
}

}  // namespace sparsenet

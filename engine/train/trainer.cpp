#include <sparsenet/trainer.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/guarded.h"
#include "plan/plan.h"
#include "runtime/denormals.h"
#include "runtime/executor.h"
#include "runtime/port_copy.h"
#include "session/backend_table.h"
#include "session/block.h"
#include "session/hooked_threads.h"
#include "session/thread_pool.h"
#include "step/step_names.h"
#include "train/parameters.h"
#include "train/recompute.h"
#include "train/training_graph.h"

namespace sparsenet {
namespace {

// Indices into TrainingGraph::phase_begins; forward and backward come first.
enum Phase : size_t { kRunningPhase = 0, kAccumulatePhase, kNormPhase, kUpdatePhase };

struct StateHeader {
  uint64_t updates, accumulated;
};

constexpr int kUsualThreads = 4;  // a memory budget keeps room for so many

// What a step changes before it is known to be good.
constexpr int kMovedRegions[] = {kRunningRegion, kAccumulatedRegion};

Status check_options(const TrainOptions& o) {
  auto expect = [](bool ok, const std::string& what, const std::string& expected, double found) {
    return ok ? Status() : invalid_argument(what + ": expected " + expected + ", found " + std::to_string(found));
  };
  SPARSENET_RETURN_IF_ERROR(
      expect(o.batch >= 1 && o.batch <= 65536, "batch", "1 to 65536", static_cast<double>(o.batch)));
  SPARSENET_RETURN_IF_ERROR(expect(o.threads >= 0 && o.threads <= 1024, "threads", "0 to 1024", o.threads));
  SPARSENET_RETURN_IF_ERROR(expect(o.momentum >= 0 && o.momentum < 1, "momentum", "0 to below 1", o.momentum));
  SPARSENET_RETURN_IF_ERROR(expect(o.beta1 >= 0 && o.beta1 < 1, "beta1", "0 to below 1", o.beta1));
  SPARSENET_RETURN_IF_ERROR(expect(o.beta2 >= 0 && o.beta2 < 1, "beta2", "0 to below 1", o.beta2));
  SPARSENET_RETURN_IF_ERROR(expect(o.epsilon > 0 && o.epsilon < 1, "epsilon", "above 0 and below 1", o.epsilon));
  SPARSENET_RETURN_IF_ERROR(
      expect(o.weight_decay >= 0 && o.weight_decay < 1, "weight decay", "0 to below 1", o.weight_decay));
  SPARSENET_RETURN_IF_ERROR(
      expect(o.label_smoothing >= 0 && o.label_smoothing < 1, "label smoothing", "0 to below 1", o.label_smoothing));
  SPARSENET_RETURN_IF_ERROR(
      expect(o.clip_norm >= 0 && std::isfinite(o.clip_norm), "clip norm", "0 or more", o.clip_norm));
  return expect(o.accumulate >= 1 && o.accumulate <= 65536, "accumulate", "1 to 65536", o.accumulate);
}

}  // namespace

class Trainer::Impl {
 public:
  ~Impl() { rt::release(bound.data(), static_cast<int32_t>(prepared)); }

  Status create(const Graph& graph, const TrainOptions& wanted);
  Result<TrainStep> step(const float* images, const int32_t* labels, float learning_rate, bool profiled);
  IdleMemory idle_memory() const;
  Graph graph_view() const;
  float* region(int id) { return reinterpret_cast<float*>(arena.get() + plan.region_offsets[static_cast<size_t>(id)]); }
  const float* region(int id) const { return const_cast<Impl*>(this)->region(id); }
  size_t region_bytes(int id) const {
    return static_cast<size_t>(regions.region_floats[static_cast<size_t>(id)]) * sizeof(float);
  }

  TrainOptions options;
  Graph source;  // batch 1
  std::vector<ParameterInfo> parameters;
  std::vector<ValueId> parameter_ids;  // of `source`
  std::vector<int64_t> offsets;        // in the parameter region; -1: not trained
  Persistence regions;
  std::vector<ValueId> trained, moving;
  int64_t classes = 0, input_elements = 0;
  int64_t micro_batches = 1;
  TrainMemory memory;
  std::vector<StepInfo> steps;

 private:
  struct Program {
    TrainingGraph training;
    Plan plan;
    std::vector<RecomputeChoice> choices;
    size_t recomputed = 0;
    rt::Sizes sizes{};
  };
  // Plans for micro-batches of that size, with the first `recomputed` choices recomputed (SIZE_MAX: all).
  Status make_program(int64_t micro_batch, size_t recomputed, Program* program) const;
  Status fit(Program* program);
  Status fit_counted(int counted, Program* program, size_t* smallest, bool* found);
  static size_t scratch_of(const rt::Sizes& sizes, int threads) {
    return std::max(sizes.scratch_bytes * static_cast<size_t>(threads), sizes.single_scratch_bytes) +
           sizes.shared_bytes;
  }
  static size_t bytes_of(const Program& program, int threads) {
    return program.plan.arena_bytes + scratch_of(program.sizes, threads) + packed_of(program.sizes);
  }
  static size_t packed_of(const rt::Sizes& sizes) { return sizes.weight_bytes + sizes.refreshed_bytes; }
  Status bind(const rt::Sizes& sizes);
  void execute(size_t begin, size_t end, bool profiled);
  size_t phase(size_t id) const { return phases[id]; }

  Plan plan;
  const BackendEntry* backend = nullptr;
  Block arena, state, weights, scratch;
  size_t scratch_stride = 0;
  std::vector<rt::Bound> bound;
  size_t prepared = 0;
  std::vector<size_t> phases;  // step indices
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<HookedThreads> hooked;
  rt::Parallel parallel{nullptr, nullptr, 1};
  std::vector<bool> trained_flags, decayed_flags;

 public:
  int threads = 1;
  StateHeader counters{0, 0};
  std::vector<float> before;  // kMovedRegions as they were before the step
};

Status Trainer::Impl::make_program(int64_t micro_batch, size_t recomputed, Program* program) const {
  Graph graph = source;
  SPARSENET_RETURN_IF_ERROR(graph.set_batch(micro_batch));
  TrainingOptions t;
  t.trained = trained_flags;
  t.decayed = decayed_flags;
  t.optimizer = options.optimizer;
  t.label_smoothing = options.label_smoothing;
  t.accumulate = options.accumulate > 1 || micro_batch != options.batch;
  Result<TrainingGraph> training = build_backward(graph, t);
  if (!training.ok()) return training.status();
  program->training = std::move(*training);
  program->choices = recompute_choices(program->training);
  program->recomputed = std::min(recomputed, program->choices.size());
  recompute(&program->training, program->choices, program->recomputed);
  Result<Plan> p = make_plan(program->training.graph, program->training.persistence);
  if (!p.ok()) return p.status();
  program->plan = std::move(*p);
  const std::vector<rt::Step>& planned = program->plan.steps;
  std::vector<rt::Bound> measured(planned.size());
  const rt::Kernel* const* lists[kMaxKernelLists];
  const int32_t list_count = backend->kernel_lists(lists);
  const int32_t missing = rt::measure(planned.data(), static_cast<int32_t>(planned.size()), lists, list_count,
                                      measured.data(), &program->sizes);
  if (missing >= 0) {
    const rt::Step& s = planned[static_cast<size_t>(missing)];
    return unsupported("node '" + std::string(s.name) + "': backend '" + backend->name + "' has no kernel for " +
                       step_name(s.op));
  }
  return {};
}

// A budget's choice must not depend on the number of threads, for numbers depend on the choice: it leaves room for the
// scratch of kUsualThreads, or for one thread where that is too much. Then as many run as have room.
Status Trainer::Impl::fit(Program* program) {
  if (options.memory_budget == 0) return make_program(options.batch, 0, program);
  size_t smallest = SIZE_MAX;
  bool found = false;
  for (const int counted : {kUsualThreads, 1}) {
    if (!found) SPARSENET_RETURN_IF_ERROR(fit_counted(counted, program, &smallest, &found));
  }
  if (!found) {
    return invalid_argument("memory budget: expected " + std::to_string(smallest) + " bytes or more for batch " +
                            std::to_string(options.batch) + ", found " + std::to_string(options.memory_budget));
  }
  // The caller's pool runs on all of its threads or is not used.
  while (threads > 1 && bytes_of(*program, threads) > options.memory_budget) {
    threads = options.thread_hook.threads > 0 ? 1 : threads - 1;
  }
  return {};
}

// The largest micro-batches that fit, with as little recomputed as will do.
Status Trainer::Impl::fit_counted(int counted, Program* program, size_t* smallest, bool* found) {
  Status first_failure;
  bool planned = false;
  *found = true;
  for (micro_batches = 1; micro_batches <= options.batch; ++micro_batches) {
    if (options.batch % micro_batches != 0) continue;
    const int64_t micro_batch = options.batch / micro_batches;
    const Status status = make_program(micro_batch, 0, program);
    if (!status.ok()) {
      if (planned) break;  // too few values for batch statistics
      if (first_failure.ok()) first_failure = status;
      continue;  // smaller parts may be what can be planned
    }
    planned = true;
    *smallest = std::min(*smallest, bytes_of(*program, counted));
    if (bytes_of(*program, counted) <= options.memory_budget) return {};
    size_t enough = program->choices.size(), few = 0;
    SPARSENET_RETURN_IF_ERROR(make_program(micro_batch, enough, program));
    *smallest = std::min(*smallest, bytes_of(*program, counted));
    if (bytes_of(*program, counted) > options.memory_budget) continue;
    while (enough - few > 1) {
      const size_t middle = few + (enough - few) / 2;
      Program trial;
      SPARSENET_RETURN_IF_ERROR(make_program(micro_batch, middle, &trial));
      if (bytes_of(trial, counted) <= options.memory_budget) {
        enough = middle;
        *program = std::move(trial);
      } else {
        few = middle;
      }
    }
    return {};
  }
  *found = false;
  return planned ? Status() : first_failure;
}

Status Trainer::Impl::create(const Graph& graph, const TrainOptions& wanted) {
  options = wanted;
  SPARSENET_RETURN_IF_ERROR(check_options(options));
  backend = find_backend(options.backend);
  if (!backend || backend->parallel) {
    return unsupported("backend '" + std::string(name(options.backend)) + "' does not train; use auto or portable");
  }
  SPARSENET_RETURN_IF_ERROR(check_hook(options.thread_hook));
  threads = options.thread_hook.threads > 0 ? options.thread_hook.threads
            : options.threads == 0          ? usable_cpus()
                                            : options.threads;
  source = graph;
  SPARSENET_RETURN_IF_ERROR(source.set_batch(1));
  SPARSENET_RETURN_IF_ERROR(
      choose_parameters(source, options, &parameters, &parameter_ids, &trained_flags, &decayed_flags));

  Program program;
  SPARSENET_RETURN_IF_ERROR(fit(&program));
  plan = std::move(program.plan);
  const TrainingGraph& built = program.training;
  memory.recomputed = static_cast<int64_t>(program.recomputed);
  for (size_t i = 0; i < program.recomputed; ++i) {
    memory.extra_macs += static_cast<double>(program.choices[i].cost) /
                         static_cast<double>(options.batch / micro_batches * source.macs_per_image());
  }
  regions = built.persistence;
  trained = built.trained;
  moving = built.moving;
  for (size_t begin : built.phase_begins) {
    phases.push_back(begin < plan.node_steps.size() ? plan.node_steps[begin] : plan.steps.size());
  }
  phases.push_back(plan.steps.size());
  size_t moved = 0;
  for (int id : kMovedRegions) moved += static_cast<size_t>(regions.region_floats[static_cast<size_t>(id)]);
  before.assign(moved, 0.f);
  offsets.assign(parameter_ids.size(), -1);
  for (size_t i = 0; i < parameter_ids.size(); ++i) {
    for (const Persistence::Placement& p : regions.placements) {
      if (p.value == parameter_ids[i] && p.region == kParameterRegion) offsets[i] = p.offset;
    }
  }
  input_elements = element_count(source.shape(source.inputs[0]));
  classes = plan.outputs.empty() ? 0 : built.graph.shape(source.outputs[0]).back();
  const rt::Sizes sizes = program.sizes;
  program = {};
  return_free_heap();
  SPARSENET_RETURN_IF_ERROR(bind(sizes));
  for (const Persistence::Placement& p : regions.placements) {
    if (p.region != kParameterRegion && p.region != kRunningRegion) continue;
    if (static_cast<size_t>(p.value) >= source.values.size()) continue;  // a region as a whole
    const Tensor& t = source.values[static_cast<size_t>(p.value)].constant;
    std::memcpy(region(p.region) + p.offset, t.data, t.bytes());
  }
  return {};
}

Status Trainer::Impl::bind(const rt::Sizes& sizes) {
  const auto count = static_cast<int32_t>(plan.steps.size());
  bound.assign(plan.steps.size(), {});
  rt::Sizes again{};
  const rt::Kernel* const* lists[kMaxKernelLists];
  const int32_t list_count = backend->kernel_lists(lists);
  (void)rt::measure(plan.steps.data(), count, lists, list_count, bound.data(), &again);  // chooses the kernels
  scratch_stride = sizes.scratch_bytes;
  const size_t scratch_bytes = scratch_of(sizes, threads);
  const size_t thread_scratch = scratch_bytes - sizes.shared_bytes;
  const size_t needed = plan.arena_bytes + packed_of(sizes) + scratch_bytes;
  if (options.max_memory_bytes > 0 && needed > options.max_memory_bytes) {
    return out_of_memory("training needs " + std::to_string(needed) + " bytes, more than the " +
                         std::to_string(options.max_memory_bytes) + " that it may take");
  }
  if (!arena.allocate(plan.arena_bytes) || !state.allocate(sizes.state_bytes) || !weights.allocate(packed_of(sizes)) ||
      !scratch.allocate(scratch_bytes)) {
    return out_of_memory("training needs " + std::to_string(plan.arena_bytes) + " bytes of arena, " +
                         std::to_string(packed_of(sizes)) + " of packed weights and " + std::to_string(scratch_bytes) +
                         " of scratch");
  }
  for (const PlanLink& link : plan.links) {
    plan.steps[link.step].*link.member = reinterpret_cast<const float*>(arena.get() + link.offset);
  }
  int32_t failed = -1;
  const char* message = rt::bind(
      plan.steps.data(), count,
      {arena.get(), state.get(), weights.get(), scratch.get() + thread_scratch, weights.get() + sizes.weight_bytes},
      bound.data(), &failed);
  prepared = message ? static_cast<size_t>(failed) : plan.steps.size();
  if (message) {
    return unsupported("node '" + std::string(plan.steps[static_cast<size_t>(failed)].name) + "': kernel " +
                       bound[static_cast<size_t>(failed)].kernel->name + ": " + message);
  }
  if (threads > 1 && options.thread_hook.threads > 0) {
    hooked = std::make_unique<HookedThreads>(options.thread_hook, rt::HookGuard::most_chunks(bound.data(), count),
                                             options.flush_denormals);
    parallel = hooked->handle();
  } else if (threads > 1) {
    pool = std::make_unique<ThreadPool>(threads, options.flush_denormals);
    threads = pool->size();
    parallel = pool->handle();
  }
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    StepInfo info;
    info.name = plan.steps[i].name;
    info.op = step_name(plan.steps[i].op);
    info.kernel = bound[i].kernel->name;
    info.backend = bound[i].kernel->backend;
    info.is_copy = plan.steps[i].is_copy;
    info.macs = plan.step_macs[i];
    steps.push_back(std::move(info));
  }
  memory.arena_bytes = plan.arena_bytes;
  memory.lower_bound_bytes = plan.lower_bound_bytes;
  for (int64_t floats : regions.region_floats) memory.parameter_bytes += static_cast<size_t>(floats) * sizeof(float);
  memory.scratch_bytes = scratch_bytes;
  memory.packed_bytes = packed_of(sizes);
  memory.micro_batch = options.batch / micro_batches;
  return {};
}

IdleMemory Trainer::Impl::idle_memory() const {
  // What stays lies in the regions, which do not overlap; the largest gap in front of one or behind them is idle. They
  // are few, so that looking for the next one needs no list in order, and no heap.
  const size_t count = plan.region_offsets.size();
  const auto end_of = [this](size_t id) {
    const size_t end = plan.region_offsets[id] + region_bytes(static_cast<int>(id));
    return (end + rt::kAlignment - 1) / rt::kAlignment * rt::kAlignment;
  };
  IdleMemory idle;
  for (size_t behind = 0; behind <= count; ++behind) {
    if (behind < count && region_bytes(static_cast<int>(behind)) == 0) continue;
    const size_t begin = behind == count ? 0 : end_of(behind);
    size_t end = plan.arena_bytes;
    for (size_t id = 0; id < count; ++id) {
      if (region_bytes(static_cast<int>(id)) > 0 && plan.region_offsets[id] >= begin) {
        end = std::min(end, plan.region_offsets[id]);
      }
    }
    if (end > begin && end - begin > idle.bytes) idle = {arena.get() + begin, end - begin};
  }
  return idle;
}

Graph Trainer::Impl::graph_view() const {
  Graph graph = source;
  for (const Persistence::Placement& p : regions.placements) {
    if (p.region != kParameterRegion && p.region != kRunningRegion) continue;
    if (static_cast<size_t>(p.value) >= graph.values.size()) continue;
    Value& value = graph.values[static_cast<size_t>(p.value)];
    value.constant = {DataType::kFloat32, value.shape, nullptr, region(p.region) + p.offset};
  }
  return graph;
}

void Trainer::Impl::execute(size_t begin, size_t end, bool profiled) {
  using Clock = std::chrono::steady_clock;
  if (!profiled) {
    rt::execute(bound.data() + begin, static_cast<int32_t>(end - begin), scratch.get(), scratch_stride, parallel);
    return;
  }
  for (size_t i = begin; i < end; ++i) {
    const auto start = Clock::now();
    rt::execute_step(bound[i], scratch.get(), scratch_stride, parallel);
    steps[i].milliseconds += std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  }
}

Result<TrainStep> Trainer::Impl::step(const float* images, const int32_t* labels, float learning_rate, bool profiled) {
  if (!images || !labels) return invalid_argument("step: no images or no labels");
  for (int64_t i = 0; i < options.batch; ++i) {
    if (labels[i] < 0 || labels[i] >= classes) {
      return invalid_argument("label " + std::to_string(i) + ": expected 0 to " + std::to_string(classes - 1) +
                              ", found " + std::to_string(labels[i]));
    }
  }
  if (profiled) {
    for (StepInfo& info : steps) info.milliseconds = 0;
  }
  if (!(learning_rate >= 0.f) || !std::isfinite(learning_rate)) {
    return invalid_argument("learning rate: expected 0 or more, found " + std::to_string(learning_rate));
  }
  const bool sums = region_bytes(kAccumulatedRegion) > 0;
  const int64_t micro_batch = options.batch / micro_batches;
  // What a step that fails must leave as it was.
  const StateHeader counters_before = counters;
  float* kept = before.data();
  for (int id : kMovedRegions) {
    if (region_bytes(id) == 0) continue;
    std::memcpy(kept, region(id), region_bytes(id));
    kept += region_bytes(id) / sizeof(float);
  }
  TrainStep result;
  result.images = options.batch;
  if (sums && counters.accumulated == 0) std::memset(region(kAccumulatedRegion), 0, region_bytes(kAccumulatedRegion));
  const rt::FlushDenormals flush(options.flush_denormals);
  if (pool) pool->begin_run();
  Status failure;
  for (int64_t m = 0; m < micro_batches && failure.ok(); ++m) {
    rt::copy_to_view(plan.inputs[0].view, arena.get(), images + m * micro_batch * input_elements);
    float* targets = reinterpret_cast<float*>(arena.get() + plan.inputs[1].view.segments[0].offset);
    for (int64_t i = 0; i < micro_batch; ++i) targets[i] = static_cast<float>(labels[m * micro_batch + i]);
    execute(0, phase(kRunningPhase), profiled);
    const auto* sum = reinterpret_cast<const float*>(arena.get() + plan.outputs[0].view.segments[0].offset);
    if (!std::isfinite(sum[0])) {
      failure = Status(StatusCode::kNotFinite, "the loss is not finite (" + std::to_string(sum[0]) + ")");
      break;
    }
    result.loss += sum[0];
    result.correct += static_cast<int64_t>(sum[1]);
    execute(phase(kRunningPhase), phase(kNormPhase), profiled);
    if (hooked) failure = hooked->take();
  }
  result.loss /= static_cast<double>(options.batch);
  if (failure.ok() && ++counters.accumulated == static_cast<uint64_t>(options.accumulate)) {
    counters.accumulated = 0;
    const double t = static_cast<double>(++counters.updates);
    float* control = region(kControlRegion);
    const double mean = 1.0 / (static_cast<double>(micro_batches) * options.accumulate);
    double scale = mean;
    execute(phase(kNormPhase), phase(kUpdatePhase), profiled);
    const double square = static_cast<double>(control[rt::kSquareSumHigh]) + control[rt::kSquareSumLow];
    const double norm = std::sqrt(square) * mean;
    // What the hook does wrong in the update, which is not taken back, the next step has to tell.
    if (hooked) failure = hooked->take();
    if (failure.ok() && !std::isfinite(norm)) {
      failure = Status(StatusCode::kNotFinite, "the gradients are not finite, or their norm is above 1e19");
    } else if (options.clip_norm > 0) {
      if (norm > options.clip_norm) scale *= static_cast<double>(options.clip_norm) / norm;
    }
    control[rt::kLearningRate] = learning_rate;
    control[rt::kGradientScale] = static_cast<float>(scale);
    control[rt::kWeightDecay] = options.weight_decay;
    control[rt::kMomentum] = options.momentum;
    control[rt::kNesterov] = options.nesterov ? 1.f : 0.f;
    control[rt::kBeta1] = options.beta1;
    control[rt::kBeta2] = options.beta2;
    control[rt::kEpsilon] = options.epsilon;
    control[rt::kCorrection1] = static_cast<float>(1 / (1 - std::pow(static_cast<double>(options.beta1), t)));
    control[rt::kCorrection2] = static_cast<float>(1 / (1 - std::pow(static_cast<double>(options.beta2), t)));
    control[rt::kDecoupled] = options.optimizer == Optimizer::kAdamW ? 1.f : 0.f;
    if (failure.ok()) {
      execute(phase(kUpdatePhase), bound.size(), profiled);
      result.updated = true;
    }
  }
  if (pool) pool->end_run();
  if (failure.ok()) return result;
  counters = counters_before;
  kept = before.data();
  for (int id : kMovedRegions) {
    if (region_bytes(id) == 0) continue;
    std::memcpy(region(id), kept, region_bytes(id));
    kept += region_bytes(id) / sizeof(float);
  }
  return failure;
}

Result<Trainer> Trainer::create(const Graph& graph, const TrainOptions& options) {
  return guarded("planning a training", [&]() -> Result<Trainer> {
    auto impl = std::make_unique<Impl>();
    SPARSENET_RETURN_IF_ERROR(impl->create(graph, options));
    return Trainer(std::move(impl));
  });
}

Trainer::Trainer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Trainer::Trainer(Trainer&&) noexcept = default;
Trainer& Trainer::operator=(Trainer&&) noexcept = default;
Trainer::~Trainer() = default;

Result<TrainStep> Trainer::step(const float* images, const int32_t* labels, float learning_rate) {
  return guarded("training", [&] { return impl_->step(images, labels, learning_rate, false); });
}
Result<TrainStep> Trainer::step_profiled(const float* images, const int32_t* labels, float learning_rate) {
  return guarded("training", [&] { return impl_->step(images, labels, learning_rate, true); });
}
const std::vector<StepInfo>& Trainer::steps() const {
  return impl_->steps;
}
const std::vector<ParameterInfo>& Trainer::parameters() const {
  return impl_->parameters;
}
IdleMemory Trainer::idle_memory() {
  return impl_->idle_memory();
}

TrainMemory Trainer::memory() const {
  return impl_->memory;
}
int Trainer::threads() const {
  return impl_->threads;
}
int64_t Trainer::classes() const {
  return impl_->classes;
}

Result<Graph> Trainer::graph() const {
  return guarded("copying the trained network", [&]() -> Result<Graph> {
    Graph graph = impl_->graph_view();
    for (Value& value : graph.values) {
      if (!value.is_constant || value.constant.owner) continue;
      const float* from = value.constant.f32();
      value.constant = Tensor::from(value.shape, std::vector<float>(from, from + value.constant.elements()));
    }
    return graph;
  });
}

Result<Graph> Trainer::graph_view() const {
  return guarded("looking at the trained network", [&]() -> Result<Graph> { return impl_->graph_view(); });
}

Status Trainer::get_parameter(size_t index, float* data, size_t elements) const {
  return guarded("reading a parameter", [&]() -> Status {
    if (index >= impl_->parameters.size()) {
      return invalid_argument("parameter " + std::to_string(index) + ": the graph has " +
                              std::to_string(impl_->parameters.size()));
    }
    const Tensor& t = impl_->source.values[static_cast<size_t>(impl_->parameter_ids[index])].constant;
    if (!data || static_cast<int64_t>(elements) != t.elements()) {
      return invalid_argument("parameter '" + impl_->parameters[index].name + "': expected room for " +
                              std::to_string(t.elements()) + " values, found " + std::to_string(elements));
    }
    const int64_t offset = impl_->offsets[index];
    std::memcpy(data, offset < 0 ? t.f32() : impl_->region(kParameterRegion) + offset, elements * sizeof(float));
    return {};
  });
}

Status Trainer::get_gradient(size_t index, float* data, size_t elements) const {
  return guarded("reading a gradient", [&]() -> Status {
    if (index >= impl_->parameters.size()) {
      return invalid_argument("parameter " + std::to_string(index) + ": the graph has " +
                              std::to_string(impl_->parameters.size()));
    }
    const ParameterInfo& info = impl_->parameters[index];
    if (!info.trained) return invalid_argument("parameter '" + info.name + "' is not trained: it has no gradient");
    if (!data || static_cast<int64_t>(elements) != element_count(info.shape)) {
      return invalid_argument("parameter '" + info.name + "': expected room for " +
                              std::to_string(element_count(info.shape)) + " values, found " + std::to_string(elements));
    }
    const bool sums = impl_->region_bytes(kAccumulatedRegion) > 0;
    const float* from = impl_->region(sums ? kAccumulatedRegion : kGradientRegion) + impl_->offsets[index];
    const uint64_t batches = impl_->counters.accumulated == 0 ? static_cast<uint64_t>(impl_->options.accumulate)
                                                              : impl_->counters.accumulated;
    const auto scale = static_cast<float>(
        sums ? 1.0 / (static_cast<double>(impl_->micro_batches) * static_cast<double>(batches)) : 1.0);
    for (size_t i = 0; i < elements; ++i) data[i] = from[i] * scale;
    return {};
  });
}

namespace {

constexpr int kStateRegions[] = {kParameterRegion, kMoment1Region, kMoment2Region, kRunningRegion, kAccumulatedRegion};

}  // namespace

size_t Trainer::state_bytes() const {
  size_t bytes = sizeof(StateHeader);
  for (int id : kStateRegions) bytes += impl_->region_bytes(id);
  return bytes;
}

Status Trainer::save_state(void* data, size_t size) const {
  return guarded("saving the state of a training", [&]() -> Status {
    if (!data || size != state_bytes()) {
      return invalid_argument("training state: expected room for " + std::to_string(state_bytes()) + " bytes, found " +
                              std::to_string(size));
    }
    auto* to = static_cast<uint8_t*>(data);
    std::memcpy(to, &impl_->counters, sizeof(StateHeader));
    to += sizeof(StateHeader);
    for (int id : kStateRegions) {
      std::memcpy(to, impl_->region(id), impl_->region_bytes(id));
      to += impl_->region_bytes(id);
    }
    return {};
  });
}

Status Trainer::load_state(const void* data, size_t size) {
  return guarded("loading the state of a training", [&]() -> Status {
    if (!data || size != state_bytes()) {
      return invalid_argument("training state: expected " + std::to_string(state_bytes()) + " bytes, found " +
                              std::to_string(size));
    }
    const auto* from = static_cast<const uint8_t*>(data);
    std::memcpy(&impl_->counters, from, sizeof(StateHeader));
    from += sizeof(StateHeader);
    for (int id : kStateRegions) {
      std::memcpy(impl_->region(id), from, impl_->region_bytes(id));
      from += impl_->region_bytes(id);
    }
    return {};
  });
}

}  // namespace sparsenet

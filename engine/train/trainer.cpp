// Trainer: a training program bound to kernels and memory, its state, and the steps that change it.
#include <sparsenet/precision.h>
#include <sparsenet/trainer.h>

#include <cmath>
#include <cstring>
#include <utility>

#include "base/guarded.h"
#include "graph/integers.h"
#include "passes/pipeline.h"
#include "runtime/denormals.h"
#include "session/bound_plan.h"
#include "train/budget.h"
#include "train/parameters.h"
#include "train/simulated_form.h"
#include "train/state.h"
#include "train/trainer_access.h"

namespace sparsenet {
namespace {

Status choose_trainer_backend(const TrainOptions& options, BindOptions* bind) {
  const BackendEntry* backend = find_backend(options.backend);
  if (!backend || backend->parallel) {
    return unsupported("backend '" + std::string(name(options.backend)) + "' does not train; use auto or portable");
  }
  bind->flush_denormals = options.flush_denormals;
  bind->owner = "training";
  return choose_backend(options.backend, options.threads, options.thread_hook, bind);
}

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

// What lowering refuses, such as sums that could leave 32 bits, is to be told before the network is written.
Status check_integers(Graph graph) {
  SPARSENET_RETURN_IF_ERROR(run_passes(&graph, PassLevel::kAll));
  const Status status = make_plan(graph).status();
  if (status.code() != StatusCode::kUnsupported) return status;
  return unsupported(status.message() +
                     "; training has moved the weights too far, and a smaller learning rate may help");
}

}  // namespace

class Trainer::Impl {
 public:
  Status create(Graph graph, const TrainOptions& wanted);
  Result<TrainStep> step(const float* images, const int32_t* labels, float learning_rate, bool timed);

  // The graph with the present parameters, which stay where they are if they are float32.
  Result<Graph> view() const;

  TrainOptions options;
  Graph source;    // batch 1; its integers are simulated where they are trained
  Graph integers;  // what `source` was made from, if that computes with integers
  std::vector<ParameterInfo> parameters;
  std::vector<ValueId> parameter_ids;  // of `source`
  std::vector<int64_t> offsets;        // in floats, in the parameter region; -1: not trained
  std::vector<float> units;            // by parameter: what its elements in the parameter region are multiples of
  int64_t classes = 0;
  int64_t micro_batches = 1;
  TrainMemory memory;
  BoundPlan bound;
  TrainingState state;

 private:
  Status check_step(const float* images, const int32_t* labels, float learning_rate) const;
  void execute(size_t begin, size_t end, bool timed);
  Status compute_gradients(const float* images, const int32_t* labels, bool timed, TrainStep* result);
  Status update(float learning_rate, bool timed);
  void set_control(float learning_rate, double gradient_scale);

  Plan plan;
  std::vector<size_t> phases;  // the first step of each phase, and the number of steps
  int64_t input_elements = 0;
};

Status Trainer::Impl::create(Graph graph, const TrainOptions& wanted) {
  options = wanted;
  SPARSENET_RETURN_IF_ERROR(check_options(options));
  BindOptions bind_options;
  SPARSENET_RETURN_IF_ERROR(choose_trainer_backend(options, &bind_options));
  source = std::move(graph);
  SPARSENET_RETURN_IF_ERROR(source.set_batch(1));
  const bool of_integers = has_integers(source);
  if (of_integers) separate_biases(&source);
  std::vector<bool> trained, decayed;  // by value
  SPARSENET_RETURN_IF_ERROR(choose_parameters(source, options, &parameters, &parameter_ids, &trained, &decayed));
  if (of_integers) {
    integers = source;
    SPARSENET_RETURN_IF_ERROR(simulate_integers(&source, trained));
  }

  SPARSENET_ASSIGN_OR_RETURN(TrainingProgram program,
                             fit_program({source, options, trained, decayed, of_integers}, &bind_options));
  plan = std::move(program.plan);
  micro_batches = program.micro_batches;
  memory.micro_batch = options.batch / micro_batches;
  memory.recomputed = static_cast<int64_t>(program.recomputed);
  for (size_t i = 0; i < program.recomputed; ++i) {
    memory.extra_macs += static_cast<double>(program.choices[i].cost) /
                         static_cast<double>(memory.micro_batch * source.macs_per_image());
  }
  for (const size_t begin : program.training.phase_begins) {
    phases.push_back(begin < plan.node_steps.size() ? plan.node_steps[begin] : plan.steps.size());
  }
  phases.push_back(plan.steps.size());
  input_elements = element_count(source.shape(source.inputs[0]));
  classes = plan.outputs.empty() ? 0 : program.training.graph.shape(source.outputs[0]).back();
  Persistence regions = std::move(program.training.persistence);
  const uint64_t needed = program.bytes(bind_options.threads);
  if (options.max_memory_bytes > 0 && needed > options.max_memory_bytes) {
    return out_of_memory("training needs " + std::to_string(needed) + " bytes, more than the " +
                         std::to_string(options.max_memory_bytes) + " that it may take");
  }
  program = {};
  return_free_heap();

  SPARSENET_RETURN_IF_ERROR(bound.create(plan, bind_options));
  state.init(std::move(regions), plan.region_offsets, bound.host_arena(), plan.arena_bytes);
  state.load_parameters(source);
  const std::vector<float> unit_of = weight_units(source);
  for (const ValueId id : parameter_ids) {
    offsets.push_back(state.offset_in(kParameterRegion, id));
    units.push_back(unit_of[static_cast<size_t>(id)]);
  }
  const MemoryReport report = bound.memory();
  memory.arena_bytes = report.arena_bytes;
  memory.lower_bound_bytes = report.lower_bound_bytes;
  memory.parameter_bytes = state.all_bytes();
  memory.scratch_bytes = report.scratch_bytes;
  memory.packed_bytes = report.weights_bytes;
  return {};
}

Result<Graph> Trainer::Impl::view() const {
  if (integers.nodes.empty()) return state.view(source);
  return integers_of(integers, state.view(source));
}

Status Trainer::Impl::check_step(const float* images, const int32_t* labels, float learning_rate) const {
  if (!images || !labels) return invalid_argument("step: no images or no labels");
  for (int64_t i = 0; i < options.batch; ++i) {
    if (labels[i] < 0 || labels[i] >= classes) {
      return invalid_argument("label " + std::to_string(i) + ": expected 0 to " + std::to_string(classes - 1) +
                              ", found " + std::to_string(labels[i]));
    }
  }
  if (!(learning_rate >= 0.f) || !std::isfinite(learning_rate)) {
    return invalid_argument("learning rate: expected 0 or more, found " + std::to_string(learning_rate));
  }
  return {};
}

void Trainer::Impl::execute(size_t begin, size_t end, bool timed) {
  if (timed) {
    bound.execute_timed(begin, end);
  } else {
    bound.execute(begin, end);
  }
}

// Computes loss and gradients of all micro-batches, and the running statistics.
Status Trainer::Impl::compute_gradients(const float* images, const int32_t* labels, bool timed, TrainStep* result) {
  if (state.region_bytes(kAccumulatedRegion) > 0 && state.counters.accumulated == 0) {
    std::memset(state.region(kAccumulatedRegion), 0, state.region_bytes(kAccumulatedRegion));
  }
  const int64_t micro_batch = options.batch / micro_batches;
  uint8_t* arena = bound.host_arena();
  for (int64_t m = 0; m < micro_batches; ++m) {
    bound.write(plan.inputs[0], images + m * micro_batch * input_elements);
    float* targets = reinterpret_cast<float*>(arena + plan.inputs[1].view.segments[0].offset);
    for (int64_t i = 0; i < micro_batch; ++i) targets[i] = static_cast<float>(labels[m * micro_batch + i]);
    execute(0, phases[kRunningPhase], timed);
    const auto* sum = reinterpret_cast<const float*>(arena + plan.outputs[0].view.segments[0].offset);
    if (!std::isfinite(sum[0])) {
      return Status(StatusCode::kNotFinite, "the loss is not finite (" + std::to_string(sum[0]) + ")");
    }
    result->loss += static_cast<double>(sum[0]);
    result->correct += static_cast<int64_t>(sum[1]);
    execute(phases[kRunningPhase], phases[kNormPhase], timed);
    SPARSENET_RETURN_IF_ERROR(bound.misuse());
  }
  result->loss /= static_cast<double>(options.batch);
  return {};
}

void Trainer::Impl::set_control(float learning_rate, double gradient_scale) {
  const double t = static_cast<double>(state.counters.updates);
  float* control = state.region(kControlRegion);
  control[rt::kLearningRate] = learning_rate;
  control[rt::kGradientScale] = static_cast<float>(gradient_scale);
  control[rt::kWeightDecay] = options.weight_decay;
  control[rt::kMomentum] = options.momentum;
  control[rt::kNesterov] = options.nesterov ? 1.f : 0.f;
  control[rt::kBeta1] = options.beta1;
  control[rt::kBeta2] = options.beta2;
  control[rt::kEpsilon] = options.epsilon;
  control[rt::kCorrection1] = static_cast<float>(1 / (1 - std::pow(static_cast<double>(options.beta1), t)));
  control[rt::kCorrection2] = static_cast<float>(1 / (1 - std::pow(static_cast<double>(options.beta2), t)));
  control[rt::kDecoupled] = options.optimizer == Optimizer::kAdamW ? 1.f : 0.f;
}

Status Trainer::Impl::update(float learning_rate, bool timed) {
  state.counters.accumulated = 0;
  ++state.counters.updates;
  const double mean = 1.0 / (static_cast<double>(micro_batches) * options.accumulate);
  execute(phases[kNormPhase], phases[kUpdatePhase], timed);
  const float* control = state.region(kControlRegion);
  const double square = static_cast<double>(control[rt::kSquareSumHigh]) + control[rt::kSquareSumLow];
  const double norm = std::sqrt(square) * mean;
  // The update below is not undone: if the hook breaks a rule during it, the next step reports that.
  SPARSENET_RETURN_IF_ERROR(bound.misuse());
  if (!std::isfinite(norm)) {
    return Status(StatusCode::kNotFinite, "the gradients are not finite, or their norm is above 1e19");
  }
  const double limit = options.clip_norm;
  set_control(learning_rate, limit > 0 && norm > limit ? mean * (limit / norm) : mean);
  execute(phases[kUpdatePhase], plan.steps.size(), timed);
  return {};
}

Result<TrainStep> Trainer::Impl::step(const float* images, const int32_t* labels, float learning_rate, bool timed) {
  SPARSENET_RETURN_IF_ERROR(check_step(images, labels, learning_rate));
  if (timed) bound.reset_times();
  state.keep();
  TrainStep result;
  result.images = options.batch;
  const rt::FlushDenormals flush(options.flush_denormals);
  SPARSENET_RETURN_IF_ERROR(bound.begin_run());
  Status failure = compute_gradients(images, labels, timed, &result);
  if (failure.ok() && ++state.counters.accumulated == static_cast<uint64_t>(options.accumulate)) {
    failure = update(learning_rate, timed);
    result.updated = failure.ok();
  }
  const Status ended = bound.end_run();
  if (failure.ok()) failure = ended;
  if (failure.ok()) return result;
  state.restore();
  return failure;
}

Result<Trainer> Trainer::create(const Graph& graph, const TrainOptions& options) {
  return guarded("planning a training", [&]() -> Result<Trainer> {
    Graph wide = graph;
    SPARSENET_RETURN_IF_ERROR(constants_to_float32(&wide));
    return TrainerAccess::create(std::move(wide), options);
  });
}

Result<Trainer> TrainerAccess::create(Graph graph, const TrainOptions& options) {
  auto impl = std::make_unique<Trainer::Impl>();
  SPARSENET_RETURN_IF_ERROR(impl->create(std::move(graph), options));
  return Trainer(std::move(impl));
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
  return impl_->bound.steps();
}
const std::vector<ParameterInfo>& Trainer::parameters() const {
  return impl_->parameters;
}
IdleMemory Trainer::idle_memory() {
  return impl_->state.idle_memory();
}

TrainMemory Trainer::memory() const {
  return impl_->memory;
}
int Trainer::threads() const {
  return impl_->bound.threads();
}
int64_t Trainer::classes() const {
  return impl_->classes;
}

Result<Graph> Trainer::graph() const {
  return guarded("copying the trained network", [&]() -> Result<Graph> {
    SPARSENET_ASSIGN_OR_RETURN(Graph graph, impl_->view());
    for (Value& value : graph.values) {
      if (!value.is_constant || value.constant.owner) continue;
      const float* from = value.constant.f32();
      value.constant = Tensor::from(value.shape, std::vector<float>(from, from + value.constant.elements()));
    }
    if (!impl_->integers.nodes.empty()) SPARSENET_RETURN_IF_ERROR(check_integers(graph));
    return graph;
  });
}

Result<Graph> Trainer::graph_view() const {
  return guarded("looking at the trained network", [&] { return impl_->view(); });
}

Status Trainer::get_parameter(size_t index, float* data, size_t elements) const {
  return guarded("reading a parameter", [&]() -> Status {
    if (index >= impl_->parameters.size()) {
      return invalid_argument("parameter " + std::to_string(index) + ": the graph has " +
                              std::to_string(impl_->parameters.size()));
    }
    const Tensor& t = impl_->source.value(impl_->parameter_ids[index]).constant;
    if (!data || static_cast<int64_t>(elements) != t.elements()) {
      return invalid_argument("parameter '" + impl_->parameters[index].name + "': expected room for " +
                              std::to_string(t.elements()) + " values, found " + std::to_string(elements));
    }
    const int64_t offset = impl_->offsets[index];
    if (offset < 0 && t.type != DataType::kFloat32) {
      return unsupported("parameter '" + impl_->parameters[index].name + "' is frozen: it holds no real numbers, but " +
                         name(t.type));
    }
    const float* from = offset < 0 ? t.f32() : impl_->state.region(kParameterRegion) + offset;
    for (size_t i = 0; i < elements; ++i) data[i] = from[i] * impl_->units[index];
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
    const bool sums = impl_->state.region_bytes(kAccumulatedRegion) > 0;
    const float* from = impl_->state.region(sums ? kAccumulatedRegion : kGradientRegion) + impl_->offsets[index];
    const uint64_t batches = impl_->state.counters.accumulated == 0 ? static_cast<uint64_t>(impl_->options.accumulate)
                                                                    : impl_->state.counters.accumulated;
    const auto scale = static_cast<float>(
        (sums ? 1.0 / (static_cast<double>(impl_->micro_batches) * static_cast<double>(batches)) : 1.0) /
        static_cast<double>(impl_->units[index]));
    for (size_t i = 0; i < elements; ++i) data[i] = from[i] * scale;
    return {};
  });
}

size_t Trainer::state_bytes() const {
  return impl_->state.saved_bytes();
}

Status Trainer::save_state(void* data, size_t size) const {
  return guarded("saving the state of a training", [&] { return impl_->state.save(data, size); });
}

Status Trainer::load_state(const void* data, size_t size) {
  return guarded("loading the state of a training", [&] { return impl_->state.load(data, size); });
}

}  // namespace sparsenet

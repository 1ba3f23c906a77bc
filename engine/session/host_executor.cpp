// The executor of the CPU backends: finds or makes a network's plan, binds it to kernels and memory, and runs it, in
// slices of the batch where that is faster.
#include <sparsenet/model.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "format/plan_format.h"
#include "passes/pipeline.h"
#include "plan/plan.h"
#include "session/bound_plan.h"
#include "session/executor.h"
#include "session/slices.h"

namespace sparsenet {
namespace {

// The plan for `images` from the model's file that is the same as the session would make itself; null if there is none.
std::shared_ptr<const Plan> fitting_plan(const Model& model, const SessionOptions& options, int64_t images) {
  const bool fits = options.use_stored_plan && options.optimize &&
                    (options.backend == Backend::kAuto || options.backend == Backend::kPortable);
  const StoredPlan* stored = fits ? find_plan(model, "portable-f32", images) : nullptr;
  return stored ? stored->plan : nullptr;
}

Result<std::shared_ptr<Plan>> plan_graph(const Graph& source, const SessionOptions& options, int64_t images) {
  Graph graph = source;
  SPARSENET_RETURN_IF_ERROR(graph.set_batch(images));
  SPARSENET_RETURN_IF_ERROR(run_passes(&graph, options.optimize ? PassLevel::kAll : PassLevel::kRequired));
  SPARSENET_ASSIGN_OR_RETURN(Plan plan, make_plan(graph));
  return std::make_shared<Plan>(std::move(plan));
}

// Of all inputs and outputs of all slices, in the graph's own order.
size_t staged_bytes(const Plan& plan, int64_t slices) {
  size_t bytes = 0;
  for (const std::vector<PlanPort>* ports : {&plan.inputs, &plan.outputs}) {
    for (const PlanPort& port : *ports) bytes += rt::aligned_bytes(bytes_of(port) * static_cast<size_t>(slices));
  }
  return bytes;
}

class HostExecutor : public Executor {
 public:
  Status create(const Graph& graph, const Model* stored, const SessionOptions& options);
  // The memory that create() would take.
  Result<MemoryReport> measure(const Graph& graph, const Model* stored, const SessionOptions& options);

  Status set_input(size_t index, const float* data) override;
  Status get_output(size_t index, float* data) override;
  Status set_input_elements(size_t index, const void* data) override;
  Status get_output_elements(size_t index, void* data) override;
  Status run(bool timed) override;
  MemoryReport memory() const override { return bound_.memory(); }
  const std::vector<StepInfo>& steps() const override { return bound_.steps(); }
  int threads() const override { return bound_.threads(); }
  int64_t images_at_once() const override { return images_; }
  bool uses_stored_plan() const override { return own_ == nullptr; }

 private:
  Status prepare(const Graph& graph, const Model* stored, const SessionOptions& options, BindOptions* bind);
  Status find_plan(const Graph& graph, const Model* stored, const SessionOptions& options);
  void describe();
  template <class Visit>
  void for_each_staged(const PlanPort& port, uint8_t* staged, Visit visit) const;
  void run_slice(int64_t slice, bool timed);

  // For one slice of the batch. Shared with the model if it is a stored plan, otherwise `own`.
  std::shared_ptr<const Plan> plan_;
  std::shared_ptr<Plan> own_;
  BoundPlan bound_;
  int64_t images_ = 1, slices_ = 1;                       // per slice, and how many
  std::vector<uint8_t*> staged_inputs_, staged_outputs_;  // of the whole batch, if it is cut
};

// Finds or makes the plan, and fills in how it is to be bound.
Status HostExecutor::prepare(const Graph& graph, const Model* stored, const SessionOptions& options,
                             BindOptions* bind) {
  SPARSENET_RETURN_IF_ERROR(choose_backend(options.backend, options.threads, options.thread_hook, bind));
  SPARSENET_RETURN_IF_ERROR(choose_precision(options.precision, bind));
  bind->flush_denormals = options.flush_denormals;
  bind->large_weights = options.large_weights;
  bind->memory = options.memory;
  bind->memory_bytes = options.memory_bytes;
  bind->max_memory_bytes = options.max_memory_bytes;
  SPARSENET_RETURN_IF_ERROR(find_plan(graph, stored, options));
  if (slices_ > 1) bind->extra_bytes = staged_bytes(*plan_, slices_);
  return {};
}

// Decides how many images are computed at once, and finds or makes the plan for these.
Status HostExecutor::find_plan(const Graph& graph, const Model* stored, const SessionOptions& options) {
  const int64_t batch = options.batch, wanted = options.images_at_once;
  if (wanted < 0 || (wanted > 0 && (wanted > batch || batch % wanted != 0))) {
    return invalid_argument("images_at_once: expected a divisor of the batch of " + std::to_string(batch) + ", found " +
                            std::to_string(wanted));
  }
  images_ = batch;
  std::shared_ptr<Plan> whole, part;
  if (batch > 1 && wanted != batch) {
    SPARSENET_ASSIGN_OR_RETURN(whole, plan_graph(graph, options, batch));
    images_ = wanted > 0 ? wanted : best_slice(graph, *whole, batch);
  }
  if (images_ < batch) {
    // A graph that mixes images need not have a plan for fewer of them.
    auto planned = plan_graph(graph, options, images_);
    if (planned.status().code() == StatusCode::kOutOfMemory) return planned.status();
    if (planned.ok()) part = std::move(*planned);
    const char* mixed = part ? mixes_images(*whole, batch, *part, images_) : nullptr;
    if (!part || mixed) {
      if (wanted > 0) {
        const std::string why = part ? "node '" + std::string(mixed) + "' may mix images" : planned.status().message();
        return unsupported("images_at_once: expected all " + std::to_string(batch) +
                           " of this network's batch, found " + std::to_string(wanted) + ": " + why);
      }
      images_ = batch;
      part.reset();
    }
  }
  slices_ = images_ < batch ? batch / images_ : 1;  // a batch below 1 is refused where it is planned
  if (stored) plan_ = fitting_plan(*stored, options, images_);
  if (plan_) return {};
  own_ = part ? part : whole;
  if (!own_) {
    SPARSENET_ASSIGN_OR_RETURN(own_, plan_graph(graph, options, images_));
  }
  plan_ = own_;
  return {};
}

Status HostExecutor::create(const Graph& graph, const Model* stored, const SessionOptions& options) {
  BindOptions bind;
  SPARSENET_RETURN_IF_ERROR(prepare(graph, stored, options, &bind));
  bind.own_plan = own_.get();
  SPARSENET_RETURN_IF_ERROR(bound_.create(*plan_, bind));
  bound_.multiply_macs(slices_);
  describe();
  return {};
}

void HostExecutor::describe() {
  uint8_t* at = slices_ > 1 ? bound_.extra() : nullptr;
  const auto add = [&](const PlanPort& port, std::vector<TensorInfo>* infos, std::vector<uint8_t*>* staged) {
    infos->push_back({port.name, static_cast<DataType>(port.view.type), port.shape, port.quantization});
    if (slices_ == 1) return;
    infos->back().shape[0] *= slices_;
    staged->push_back(at);
    at += rt::aligned_bytes(bytes_of(port) * static_cast<size_t>(slices_));
  };
  for (const PlanPort& port : plan_->inputs) add(port, &inputs_, &staged_inputs_);
  for (const PlanPort& port : plan_->outputs) add(port, &outputs_, &staged_outputs_);
  for (const PlanBuffer& b : plan_->buffers) buffers_.push_back({b.name, b.offset, b.bytes, b.first, b.last});
}

// Calls visit(element of the caller's, staged element) for every element of an input or output of the whole batch.
template <class Visit>
void HostExecutor::for_each_staged(const PlanPort& port, uint8_t* staged, Visit visit) const {
  const int64_t count = slices_ * element_count(port.shape);
  for (int64_t i = 0; i < count; ++i) {
    if (port.view.type == rt::DataType::kInt8) {
      visit(i, reinterpret_cast<int8_t*>(staged)[i]);
    } else {
      visit(i, staged[i]);
    }
  }
}

Status HostExecutor::set_input(size_t index, const float* data) {
  const PlanPort& port = plan_->inputs[index];
  if (slices_ == 1) {
    bound_.write(port, data);
  } else if (port.view.type == rt::DataType::kFloat32) {
    return set_input_elements(index, data);
  } else {
    const rt::PortAffine affine = affine_of(port);
    for_each_staged(port, staged_inputs_[index], [&](int64_t i, auto& element) {
      using Limits = std::numeric_limits<std::remove_reference_t<decltype(element)>>;
      element = static_cast<std::remove_reference_t<decltype(element)>>(
          affine.integer(data[i], Limits::min(), Limits::max()));
    });
  }
  return {};
}

Status HostExecutor::get_output(size_t index, float* data) {
  const PlanPort& port = plan_->outputs[index];
  if (slices_ == 1) {
    bound_.read(port, data);
  } else if (port.view.type == rt::DataType::kFloat32) {
    return get_output_elements(index, data);
  } else {
    const rt::PortAffine affine = affine_of(port);
    for_each_staged(port, staged_outputs_[index], [&](int64_t i, auto element) { data[i] = affine.real(element); });
  }
  return {};
}

Status HostExecutor::set_input_elements(size_t index, const void* data) {
  const PlanPort& port = plan_->inputs[index];
  if (slices_ == 1) {
    bound_.write_elements(port, data);
  } else {
    std::memcpy(staged_inputs_[index], data, static_cast<size_t>(slices_) * bytes_of(port));
  }
  return {};
}

Status HostExecutor::get_output_elements(size_t index, void* data) {
  const PlanPort& port = plan_->outputs[index];
  if (slices_ == 1) {
    bound_.read_elements(port, data);
  } else {
    std::memcpy(data, staged_outputs_[index], static_cast<size_t>(slices_) * bytes_of(port));
  }
  return {};
}

void HostExecutor::run_slice(int64_t slice, bool timed) {
  for (size_t i = 0; i < staged_inputs_.size(); ++i) {
    const PlanPort& port = plan_->inputs[i];
    bound_.write_elements(port, staged_inputs_[i] + static_cast<size_t>(slice) * bytes_of(port));
  }
  if (timed) {
    bound_.execute_timed(0, bound_.steps().size());
  } else {
    bound_.execute(0, bound_.steps().size());
  }
  for (size_t i = 0; i < staged_outputs_.size(); ++i) {
    const PlanPort& port = plan_->outputs[i];
    bound_.read_elements(port, staged_outputs_[i] + static_cast<size_t>(slice) * bytes_of(port));
  }
}

Result<MemoryReport> HostExecutor::measure(const Graph& graph, const Model* stored, const SessionOptions& options) {
  BindOptions bind;
  SPARSENET_RETURN_IF_ERROR(prepare(graph, stored, options, &bind));
  SPARSENET_ASSIGN_OR_RETURN(const PlanCost cost, measure_plan(*plan_, bind));
  return report_memory(cost, bind);
}

Status HostExecutor::run(bool timed) {
  SPARSENET_RETURN_IF_ERROR(bound_.begin_run());
  if (timed) bound_.reset_times();
  for (int64_t slice = 0; slice < slices_; ++slice) run_slice(slice, timed);
  const Status ended = bound_.end_run();
  SPARSENET_RETURN_IF_ERROR(bound_.misuse());
  return ended;
}

}  // namespace

Result<std::unique_ptr<Executor>> make_host_executor(const Graph& graph, const Model* stored,
                                                     const SessionOptions& options) {
  auto executor = std::make_unique<HostExecutor>();
  SPARSENET_RETURN_IF_ERROR(executor->create(graph, stored, options));
  return std::unique_ptr<Executor>(std::move(executor));
}

Result<MemoryReport> measure_on_host(const Graph& graph, const Model* stored, const SessionOptions& options) {
  return HostExecutor().measure(graph, stored, options);
}

}  // namespace sparsenet

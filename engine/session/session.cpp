// Session: finds or makes a network's plan, binds it to kernels and memory, and runs it.
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <cmath>
#include <utility>

#include "base/guarded.h"
#include "format/plan_format.h"
#include "kernels/isa.h"
#include "passes/pipeline.h"
#include "plan/plan.h"
#include "session/bound_plan.h"

namespace sparsenet {
namespace {

// The plan from the model's file that is the same as the session would make itself; null if there is none.
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
  SPARSENET_ASSIGN_OR_RETURN(Plan plan, make_plan(graph));
  return std::make_shared<Plan>(std::move(plan));
}

}  // namespace

class Session::Impl {
 public:
  // `stored`: the model whose plans may be used, or null.
  Status create(const Graph& graph, const Model* stored, const SessionOptions& options);
  // The memory that create() would take.
  Result<MemoryReport> measure(const Model& model, const SessionOptions& options);
  Status run(bool timed);

  // Shared with the model if it is a stored plan, otherwise `own`.
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<Plan> own;
  BoundPlan bound;
  std::vector<TensorInfo> inputs, outputs;
  std::vector<BufferInfo> buffers;

 private:
  Status prepare(const Graph& graph, const Model* stored, const SessionOptions& options, BindOptions* bind);
};

// Finds or makes the plan, and fills in how it is to be bound.
Status Session::Impl::prepare(const Graph& graph, const Model* stored, const SessionOptions& options,
                              BindOptions* bind) {
  SPARSENET_RETURN_IF_ERROR(choose_backend(options.backend, options.threads, options.thread_hook, bind));
  SPARSENET_RETURN_IF_ERROR(choose_precision(options.precision, bind));
  bind->flush_denormals = options.flush_denormals;
  bind->memory = options.memory;
  bind->memory_bytes = options.memory_bytes;
  bind->max_memory_bytes = options.max_memory_bytes;
  if (stored) plan = fitting_plan(*stored, options);
  if (plan) return {};
  SPARSENET_ASSIGN_OR_RETURN(own, plan_graph(graph, options));
  plan = own;
  return {};
}

Status Session::Impl::create(const Graph& graph, const Model* stored, const SessionOptions& options) {
  BindOptions bind;
  SPARSENET_RETURN_IF_ERROR(prepare(graph, stored, options, &bind));
  bind.own_plan = own.get();
  SPARSENET_RETURN_IF_ERROR(bound.create(*plan, bind));
  for (const PlanPort& port : plan->inputs) inputs.push_back({port.name, DataType::kFloat32, port.shape});
  for (const PlanPort& port : plan->outputs) outputs.push_back({port.name, DataType::kFloat32, port.shape});
  for (const PlanBuffer& b : plan->buffers) buffers.push_back({b.name, b.offset, b.bytes, b.first, b.last});
  return {};
}

Result<MemoryReport> Session::Impl::measure(const Model& model, const SessionOptions& options) {
  BindOptions bind;
  SPARSENET_RETURN_IF_ERROR(prepare(model.graph, &model, options, &bind));
  SPARSENET_ASSIGN_OR_RETURN(const PlanCost cost, measure_plan(*plan, bind));
  return report_memory(cost, bind);
}

Status Session::Impl::run(bool timed) {
  SPARSENET_RETURN_IF_ERROR(bound.begin_run());
  if (timed) {
    bound.reset_times();
    bound.execute_timed(0, bound.steps().size());
  } else {
    bound.execute(0, bound.steps().size());
  }
  const Status ended = bound.end_run();
  SPARSENET_RETURN_IF_ERROR(bound.misuse());
  return ended;
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
  return guarded("measuring a session", [&]() -> Result<MemoryReport> { return Impl().measure(model, options); });
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
  return impl_->bound.steps();
}
const std::vector<BufferInfo>& Session::buffers() const {
  return impl_->buffers;
}
MemoryReport Session::memory() const {
  return impl_->bound.memory();
}
int Session::threads() const {
  return impl_->bound.threads();
}
bool Session::uses_stored_plan() const {
  return impl_->own == nullptr;
}

namespace {

// Checks that there is such a port and that the caller's array fits it. `kind`: "input" or "output".
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
    impl_->bound.write(impl_->plan->inputs[index].view, data);
    return {};
  });
}

Status Session::get_output(size_t index, float* data, size_t elements) const {
  return guarded("reading an output", [&]() -> Status {
    SPARSENET_RETURN_IF_ERROR(check_port(impl_->plan->outputs, "output", index, data, elements));
    impl_->bound.read(impl_->plan->outputs[index].view, data);
    return {};
  });
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

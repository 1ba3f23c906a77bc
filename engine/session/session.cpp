// Session: finds or makes a network's plan, binds it to kernels and memory, and runs it.
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/guarded.h"
#include "format/plan_format.h"
#include "kernels/isa.h"
#include "passes/pipeline.h"
#include "plan/plan.h"
#include "session/bound_plan.h"
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

size_t port_bytes(const PlanPort& port) {
  return static_cast<size_t>(element_count(port.shape)) * rt::size_of(port.view.type);
}

// Of all inputs and outputs of all slices, in the graph's own order.
size_t staged_bytes(const Plan& plan, int64_t slices) {
  size_t bytes = 0;
  for (const std::vector<PlanPort>* ports : {&plan.inputs, &plan.outputs}) {
    for (const PlanPort& port : *ports) bytes += rt::aligned_bytes(port_bytes(port) * static_cast<size_t>(slices));
  }
  return bytes;
}

}  // namespace

class Session::Impl {
 public:
  // `stored`: the model whose plans may be used, or null.
  Status create(const Graph& graph, const Model* stored, const SessionOptions& options);
  // The memory that create() would take.
  Result<MemoryReport> measure(const Model& model, const SessionOptions& options);
  Status run(bool timed);

  void set_input(size_t index, const float* data);
  void get_output(size_t index, float* data) const;
  void set_input_elements(size_t index, const void* data);
  void get_output_elements(size_t index, void* data) const;

  // For one slice of the batch. Shared with the model if it is a stored plan, otherwise `own`.
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<Plan> own;
  BoundPlan bound;
  int64_t images = 1, slices = 1;  // per slice, and how many
  std::vector<TensorInfo> inputs, outputs;
  std::vector<uint8_t*> staged_inputs, staged_outputs;  // of the whole batch, if it is cut
  std::vector<BufferInfo> buffers;

 private:
  Status prepare(const Graph& graph, const Model* stored, const SessionOptions& options, BindOptions* bind);
  Status find_plan(const Graph& graph, const Model* stored, const SessionOptions& options);
  void describe();
  template <class Visit>
  void for_each_staged(const PlanPort& port, uint8_t* staged, Visit visit) const;
  void run_slice(int64_t slice, bool timed);
};

// Finds or makes the plan, and fills in how it is to be bound.
Status Session::Impl::prepare(const Graph& graph, const Model* stored, const SessionOptions& options,
                              BindOptions* bind) {
  SPARSENET_RETURN_IF_ERROR(choose_backend(options.backend, options.threads, options.thread_hook, bind));
  SPARSENET_RETURN_IF_ERROR(choose_precision(options.precision, bind));
  bind->flush_denormals = options.flush_denormals;
  bind->large_weights = options.large_weights;
  bind->memory = options.memory;
  bind->memory_bytes = options.memory_bytes;
  bind->max_memory_bytes = options.max_memory_bytes;
  SPARSENET_RETURN_IF_ERROR(find_plan(graph, stored, options));
  if (slices > 1) bind->extra_bytes = staged_bytes(*plan, slices);
  return {};
}

// Decides how many images are computed at once, and finds or makes the plan for these.
Status Session::Impl::find_plan(const Graph& graph, const Model* stored, const SessionOptions& options) {
  const int64_t batch = options.batch, wanted = options.images_at_once;
  if (wanted < 0 || (wanted > 0 && (wanted > batch || batch % wanted != 0))) {
    return invalid_argument("images_at_once: expected a divisor of the batch of " + std::to_string(batch) + ", found " +
                            std::to_string(wanted));
  }
  images = batch;
  std::shared_ptr<Plan> whole, part;
  if (batch > 1 && wanted != batch) {
    SPARSENET_ASSIGN_OR_RETURN(whole, plan_graph(graph, options, batch));
    images = wanted > 0 ? wanted : best_slice(graph, *whole, batch);
  }
  if (images < batch) {
    // A graph that mixes images need not have a plan for fewer of them.
    auto planned = plan_graph(graph, options, images);
    if (planned.status().code() == StatusCode::kOutOfMemory) return planned.status();
    if (planned.ok()) part = std::move(*planned);
    const char* mixed = part ? mixes_images(*whole, batch, *part, images) : nullptr;
    if (!part || mixed) {
      if (wanted > 0) {
        const std::string why = part ? "node '" + std::string(mixed) + "' may mix images" : planned.status().message();
        return unsupported("images_at_once: expected all " + std::to_string(batch) +
                           " of this network's batch, found " + std::to_string(wanted) + ": " + why);
      }
      images = batch;
      part.reset();
    }
  }
  slices = images < batch ? batch / images : 1;  // a batch below 1 is refused where it is planned
  if (stored) plan = fitting_plan(*stored, options, images);
  if (plan) return {};
  own = part ? part : whole;
  if (!own) {
    SPARSENET_ASSIGN_OR_RETURN(own, plan_graph(graph, options, images));
  }
  plan = own;
  return {};
}

Status Session::Impl::create(const Graph& graph, const Model* stored, const SessionOptions& options) {
  BindOptions bind;
  SPARSENET_RETURN_IF_ERROR(prepare(graph, stored, options, &bind));
  bind.own_plan = own.get();
  SPARSENET_RETURN_IF_ERROR(bound.create(*plan, bind));
  bound.multiply_macs(slices);
  describe();
  return {};
}

void Session::Impl::describe() {
  uint8_t* at = slices > 1 ? bound.extra() : nullptr;
  const auto add = [&](const PlanPort& port, std::vector<TensorInfo>* infos, std::vector<uint8_t*>* staged) {
    infos->push_back({port.name, static_cast<DataType>(port.view.type), port.shape, port.quantization});
    if (slices == 1) return;
    infos->back().shape[0] *= slices;
    staged->push_back(at);
    at += rt::aligned_bytes(port_bytes(port) * static_cast<size_t>(slices));
  };
  for (const PlanPort& port : plan->inputs) add(port, &inputs, &staged_inputs);
  for (const PlanPort& port : plan->outputs) add(port, &outputs, &staged_outputs);
  for (const PlanBuffer& b : plan->buffers) buffers.push_back({b.name, b.offset, b.bytes, b.first, b.last});
}

// Calls visit(element of the caller's, staged element) for every element of an input or output of the whole batch.
template <class Visit>
void Session::Impl::for_each_staged(const PlanPort& port, uint8_t* staged, Visit visit) const {
  const int64_t count = slices * element_count(port.shape);
  for (int64_t i = 0; i < count; ++i) {
    if (port.view.type == rt::DataType::kInt8) {
      visit(i, reinterpret_cast<int8_t*>(staged)[i]);
    } else {
      visit(i, staged[i]);
    }
  }
}

void Session::Impl::set_input(size_t index, const float* data) {
  const PlanPort& port = plan->inputs[index];
  if (slices == 1) {
    bound.write(port, data);
  } else if (port.view.type == rt::DataType::kFloat32) {
    set_input_elements(index, data);
  } else {
    const rt::PortAffine affine = affine_of(port);
    for_each_staged(port, staged_inputs[index], [&](int64_t i, auto& element) {
      using Limits = std::numeric_limits<std::remove_reference_t<decltype(element)>>;
      element = static_cast<std::remove_reference_t<decltype(element)>>(
          affine.integer(data[i], Limits::min(), Limits::max()));
    });
  }
}

void Session::Impl::get_output(size_t index, float* data) const {
  const PlanPort& port = plan->outputs[index];
  if (slices == 1) {
    bound.read(port, data);
  } else if (port.view.type == rt::DataType::kFloat32) {
    get_output_elements(index, data);
  } else {
    const rt::PortAffine affine = affine_of(port);
    for_each_staged(port, staged_outputs[index], [&](int64_t i, auto element) { data[i] = affine.real(element); });
  }
}

void Session::Impl::set_input_elements(size_t index, const void* data) {
  const PlanPort& port = plan->inputs[index];
  if (slices == 1) {
    bound.write_elements(port, data);
  } else {
    std::memcpy(staged_inputs[index], data, static_cast<size_t>(slices) * port_bytes(port));
  }
}

void Session::Impl::get_output_elements(size_t index, void* data) const {
  const PlanPort& port = plan->outputs[index];
  if (slices == 1) {
    bound.read_elements(port, data);
  } else {
    std::memcpy(data, staged_outputs[index], static_cast<size_t>(slices) * port_bytes(port));
  }
}

void Session::Impl::run_slice(int64_t slice, bool timed) {
  for (size_t i = 0; i < staged_inputs.size(); ++i) {
    const PlanPort& port = plan->inputs[i];
    bound.write_elements(port, staged_inputs[i] + static_cast<size_t>(slice) * port_bytes(port));
  }
  if (timed) {
    bound.execute_timed(0, bound.steps().size());
  } else {
    bound.execute(0, bound.steps().size());
  }
  for (size_t i = 0; i < staged_outputs.size(); ++i) {
    const PlanPort& port = plan->outputs[i];
    bound.read_elements(port, staged_outputs[i] + static_cast<size_t>(slice) * port_bytes(port));
  }
}

Result<MemoryReport> Session::Impl::measure(const Model& model, const SessionOptions& options) {
  BindOptions bind;
  SPARSENET_RETURN_IF_ERROR(prepare(model.graph, &model, options, &bind));
  SPARSENET_ASSIGN_OR_RETURN(const PlanCost cost, measure_plan(*plan, bind));
  return report_memory(cost, bind);
}

Status Session::Impl::run(bool timed) {
  SPARSENET_RETURN_IF_ERROR(bound.begin_run());
  if (timed) bound.reset_times();
  for (int64_t slice = 0; slice < slices; ++slice) run_slice(slice, timed);
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
int64_t Session::images_at_once() const {
  return impl_->images;
}
bool Session::uses_stored_plan() const {
  return impl_->own == nullptr;
}

namespace {

// Checks that there is such a port and that the caller's array fits it. `kind`: "input" or "output".
Status check_port(const std::vector<TensorInfo>& ports, const char* kind, size_t index, const void* data,
                  size_t elements) {
  const std::string what = kind;
  if (index >= ports.size()) {
    return invalid_argument(what + " " + std::to_string(index) + ": the graph has " + std::to_string(ports.size()) +
                            " " + what + "s");
  }
  const TensorInfo& port = ports[index];
  if (!data) return invalid_argument(what + " '" + port.name + "': expected a place of its data, found none");
  if (static_cast<int64_t>(elements) != element_count(port.shape)) {
    return invalid_argument(what + " '" + port.name + "': expected " + std::to_string(element_count(port.shape)) +
                            " elements of " + to_string(port.shape) + ", found " + std::to_string(elements));
  }
  return {};
}

// The same for elements of one type.
Status check_typed_port(const std::vector<TensorInfo>& ports, const char* kind, size_t index, DataType type,
                        const void* data, size_t elements) {
  SPARSENET_RETURN_IF_ERROR(check_port(ports, kind, index, data, elements));
  const TensorInfo& port = ports[index];
  if (type == port.type) return {};
  return invalid_argument(std::string(kind) + " '" + port.name + "': expected elements of " + name(port.type) +
                          ", found " + name(type));
}

}  // namespace

Status Session::set_input(size_t index, const float* data, size_t elements) {
  return guarded("setting an input", [&]() -> Status {
    SPARSENET_RETURN_IF_ERROR(check_port(impl_->inputs, "input", index, data, elements));
    impl_->set_input(index, data);
    return {};
  });
}

Status Session::get_output(size_t index, float* data, size_t elements) const {
  return guarded("reading an output", [&]() -> Status {
    SPARSENET_RETURN_IF_ERROR(check_port(impl_->outputs, "output", index, data, elements));
    impl_->get_output(index, data);
    return {};
  });
}

#define SPARSENET_TYPED_PORTS(T, type)                                                                    \
  Status Session::set_input(size_t index, const T* data, size_t elements) {                               \
    return guarded("setting an input", [&]() -> Status {                                                  \
      SPARSENET_RETURN_IF_ERROR(check_typed_port(impl_->inputs, "input", index, type, data, elements));   \
      impl_->set_input_elements(index, data);                                                             \
      return {};                                                                                          \
    });                                                                                                   \
  }                                                                                                       \
  Status Session::get_output(size_t index, T* data, size_t elements) const {                              \
    return guarded("reading an output", [&]() -> Status {                                                 \
      SPARSENET_RETURN_IF_ERROR(check_typed_port(impl_->outputs, "output", index, type, data, elements)); \
      impl_->get_output_elements(index, data);                                                            \
      return {};                                                                                          \
    });                                                                                                   \
  }
SPARSENET_TYPED_PORTS(int8_t, DataType::kInt8)
SPARSENET_TYPED_PORTS(uint8_t, DataType::kUInt8)
#undef SPARSENET_TYPED_PORTS

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

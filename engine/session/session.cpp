// Session: checks what it is given, and hands it to its executor.
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <utility>

#include "base/guarded.h"
#include "kernels/isa.h"
#include "session/backend_table.h"
#include "session/executor.h"

namespace sparsenet {
class Session::Impl {
 public:
  std::unique_ptr<Executor> executor;
};

Result<Session> Session::create_from(const Graph& graph, const Model* model, const SessionOptions& options) {
  return guarded("making a session", [&]() -> Result<Session> {
    auto impl = std::make_unique<Impl>();
    const auto make = is_plugin(options.backend) ? make_plugin_executor : make_host_executor;
    SPARSENET_ASSIGN_OR_RETURN(impl->executor, make(graph, model, options));
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
  return guarded("measuring a session", [&] {
    const auto measure = is_plugin(options.backend) ? measure_on_plugin : measure_on_host;
    return measure(model.graph, &model, options);
  });
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

const std::vector<TensorInfo>& Session::inputs() const {
  return impl_->executor->inputs();
}
const std::vector<TensorInfo>& Session::outputs() const {
  return impl_->executor->outputs();
}
const std::vector<StepInfo>& Session::steps() const {
  return impl_->executor->steps();
}
const std::vector<BufferInfo>& Session::buffers() const {
  return impl_->executor->buffers();
}
MemoryReport Session::memory() const {
  return impl_->executor->memory();
}
int Session::threads() const {
  return impl_->executor->threads();
}
int64_t Session::images_at_once() const {
  return impl_->executor->images_at_once();
}
bool Session::uses_stored_plan() const {
  return impl_->executor->uses_stored_plan();
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
    SPARSENET_RETURN_IF_ERROR(check_port(inputs(), "input", index, data, elements));
    return impl_->executor->set_input(index, data);
  });
}

Status Session::get_output(size_t index, float* data, size_t elements) const {
  return guarded("reading an output", [&]() -> Status {
    SPARSENET_RETURN_IF_ERROR(check_port(outputs(), "output", index, data, elements));
    return impl_->executor->get_output(index, data);
  });
}

#define SPARSENET_TYPED_PORTS(T, type)                                                               \
  Status Session::set_input(size_t index, const T* data, size_t elements) {                          \
    return guarded("setting an input", [&]() -> Status {                                             \
      SPARSENET_RETURN_IF_ERROR(check_typed_port(inputs(), "input", index, type, data, elements));   \
      return impl_->executor->set_input_elements(index, data);                                       \
    });                                                                                              \
  }                                                                                                  \
  Status Session::get_output(size_t index, T* data, size_t elements) const {                         \
    return guarded("reading an output", [&]() -> Status {                                            \
      SPARSENET_RETURN_IF_ERROR(check_typed_port(outputs(), "output", index, type, data, elements)); \
      return impl_->executor->get_output_elements(index, data);                                      \
    });                                                                                              \
  }
SPARSENET_TYPED_PORTS(int8_t, DataType::kInt8)
SPARSENET_TYPED_PORTS(uint8_t, DataType::kUInt8)
#undef SPARSENET_TYPED_PORTS

Status Session::run() {
  return guarded("running a session", [this] { return impl_->executor->run(false); });
}

Status Session::run_profiled() {
  return guarded("running a session", [this] { return impl_->executor->run(true); });
}

double measure_fma_peak_gflops(double seconds) {
  return active_isa().fma_peak(seconds);
}

std::string version() {
  return SPARSENET_VERSION;
}

}  // namespace sparsenet

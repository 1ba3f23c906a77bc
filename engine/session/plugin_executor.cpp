// The executor of backends that are plugins: runs the plan on the device, makes sure on the first run that the device
// computes what the CPU does, and goes on without the device where it does not.
#include <sparsenet/session.h>

#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include "session/device_check.h"
#include "session/device_plan.h"
#include "session/executor.h"

namespace sparsenet {
namespace {

// Elements of a port, of its own type, from real numbers and back.
std::vector<uint8_t> to_elements(const PlanPort& port, const float* data) {
  const auto count = static_cast<size_t>(element_count(port.shape));
  std::vector<uint8_t> bytes(count * rt::size_of(port.view.type));
  if (port.view.type == rt::DataType::kFloat32) {
    if (count > 0) std::memcpy(bytes.data(), data, bytes.size());
    return bytes;
  }
  const rt::PortAffine affine = affine_of(port);
  const int32_t low = port.view.type == rt::DataType::kInt8 ? -128 : 0;
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<uint8_t>(affine.integer(data[i], low, low + 255));
  return bytes;
}

void from_elements(const PlanPort& port, const std::vector<uint8_t>& bytes, float* data) {
  const auto count = static_cast<size_t>(element_count(port.shape));
  if (port.view.type == rt::DataType::kFloat32) {
    if (count > 0) std::memcpy(data, bytes.data(), bytes.size());
    return;
  }
  const rt::PortAffine affine = affine_of(port);
  const bool is_signed = port.view.type == rt::DataType::kInt8;
  for (size_t i = 0; i < count; ++i) {
    data[i] = affine.real(is_signed ? static_cast<int8_t>(bytes[i]) : static_cast<int32_t>(bytes[i]));
  }
}

class PluginExecutor : public Executor {
 public:
  Status create(const Graph& graph, const Model* stored, const SessionOptions& options);
  Result<MemoryReport> measure(const Graph& graph, const Model* stored, const SessionOptions& options);

  Status set_input(size_t index, const float* data) override;
  Status get_output(size_t index, float* data) override;
  Status set_input_elements(size_t index, const void* data) override;
  Status get_output_elements(size_t index, void* data) override;
  Status run(bool timed) override;
  MemoryReport memory() const override { return cpu_ ? cpu_->memory() : memory_; }
  const std::vector<StepInfo>& steps() const override { return cpu_ ? cpu_->steps() : device_->steps(); }
  int threads() const override { return cpu_ ? cpu_->threads() : device_->threads(); }
  int64_t images_at_once() const override { return cpu_ ? cpu_->images_at_once() : options_.batch; }
  bool uses_stored_plan() const override { return cpu_ && cpu_->uses_stored_plan(); }

 private:
  void note(const std::string& text) const;
  SessionOptions cpu_options() const;
  void describe();
  Status check_first_run(bool timed);
  Status leave_device(const Graph& graph, const PortValues& inputs, bool timed);
  Result<std::string> find_fault(bool each_step, const PortValues& inputs);
  const PlanPort& input(size_t index) const { return device_->steps_and_ports().inputs[index]; }
  const PlanPort& output(size_t index) const { return device_->steps_and_ports().outputs[index]; }

  SessionOptions options_;
  std::optional<DevicePlan> device_;
  MemoryReport memory_;
  std::unique_ptr<Executor> cpu_;  // in place of the device: the whole network

  // Until the first run has been checked: the graph, and the inputs that have been set since the last run.
  std::optional<Graph> unchecked_;
  PortValues kept_inputs_;
  Status wrong_;  // the device computes wrongly, and there is no CPU in its place: what every run returns
};

void PluginExecutor::note(const std::string& text) const {
  if (options_.note) {
    options_.note(options_.note_self, text.c_str());
  } else {
    std::fprintf(stderr, "note: %s\n", text.c_str());
  }
}

SessionOptions PluginExecutor::cpu_options() const {
  SessionOptions options = options_;
  options.backend = Backend::kAuto;
  options.precision = Precision::kFloat32;
  return options;
}

Status PluginExecutor::create(const Graph& graph, const Model* stored, const SessionOptions& options) {
  options_ = options;
  device_.emplace();
  SPARSENET_RETURN_IF_ERROR(device_->plan(graph, options));
  const Placement& placement = device_->placement();
  if (!placement.missing.empty()) note(placement.missing + ": " + placement.consequence);
  if (!placement.on_device) {
    device_.reset();
    SPARSENET_ASSIGN_OR_RETURN(cpu_, make_host_executor(graph, stored, cpu_options()));
    describe();
    return {};
  }
  SPARSENET_ASSIGN_OR_RETURN(memory_, device_->measure());
  SPARSENET_RETURN_IF_ERROR(device_->load());
  describe();
  const bool known =
      options.device_check == DeviceCheck::kOff ||
      (options.device_check == DeviceCheck::kOutputs && was_checked(device_->cache_folder(), device_->identity(graph)));
  if (known) {
    device_->forget_constants();
  } else {
    unchecked_ = graph;
    kept_inputs_.resize(inputs_.size());
  }
  return {};
}

Result<MemoryReport> PluginExecutor::measure(const Graph& graph, const Model* stored, const SessionOptions& options) {
  options_ = options;
  device_.emplace();
  SPARSENET_RETURN_IF_ERROR(device_->plan(graph, options));
  return device_->placement().on_device ? device_->measure() : measure_on_host(graph, stored, cpu_options());
}

void PluginExecutor::describe() {
  if (cpu_) {
    inputs_ = cpu_->inputs();
    outputs_ = cpu_->outputs();
    buffers_ = cpu_->buffers();
    return;
  }
  const auto add = [](const std::vector<PlanPort>& ports, std::vector<TensorInfo>* infos) {
    for (const PlanPort& port : ports) {
      infos->push_back({port.name, static_cast<DataType>(port.view.type), port.shape, port.quantization});
    }
  };
  const Plan& plan = device_->steps_and_ports();
  add(plan.inputs, &inputs_);
  add(plan.outputs, &outputs_);
  for (const PlanBuffer& b : plan.buffers) buffers_.push_back({b.name, b.offset, b.bytes, b.first, b.last});
}

Status PluginExecutor::set_input_elements(size_t index, const void* data) {
  if (cpu_) return cpu_->set_input_elements(index, data);
  SPARSENET_RETURN_IF_ERROR(device_->set_input(index, data));
  if (unchecked_) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    kept_inputs_[index].assign(bytes, bytes + bytes_of(input(index)));
  }
  return {};
}

Status PluginExecutor::set_input(size_t index, const float* data) {
  if (cpu_) return cpu_->set_input(index, data);
  const PlanPort& port = input(index);
  if (port.view.type == rt::DataType::kFloat32) return set_input_elements(index, data);
  return set_input_elements(index, to_elements(port, data).data());
}

Status PluginExecutor::get_output_elements(size_t index, void* data) {
  return cpu_ ? cpu_->get_output_elements(index, data) : device_->get_output(index, data);
}

Status PluginExecutor::get_output(size_t index, float* data) {
  if (cpu_) return cpu_->get_output(index, data);
  const PlanPort& port = output(index);
  if (port.view.type == rt::DataType::kFloat32) return device_->get_output(index, data);
  std::vector<uint8_t> elements(bytes_of(port));
  SPARSENET_RETURN_IF_ERROR(device_->get_output(index, elements.data()));
  from_elements(port, elements, data);
  return {};
}

// What is wrong with the first run, or nothing.
Result<std::string> PluginExecutor::find_fault(bool each_step, const PortValues& inputs) {
  std::string fault;
  const auto check_steps = [&] { return device_->check_steps(inputs, &fault); };
  if (each_step) {
    SPARSENET_RETURN_IF_ERROR(check_steps());
    if (!fault.empty()) return fault;
  }
  PortValues outputs;
  for (size_t i = 0; i < outputs_.size(); ++i) {
    outputs.emplace_back(bytes_of(output(i)));
    SPARSENET_RETURN_IF_ERROR(device_->get_output(i, outputs.back().data()));
  }
  SPARSENET_ASSIGN_OR_RETURN(const double error,
                             compare_outputs(*unchecked_, options_, inputs_, outputs_, inputs, outputs));
  if (error <= check_tolerance(options_.precision)) return fault;
  // Whether or not the step at fault can be found, the outputs are wrong.
  const Status looked = each_step ? Status() : check_steps();
  if (!fault.empty()) return fault;
  char text[64];
  std::snprintf(text, sizeof text, "relative error %.2g of the outputs, ", error);
  return text + (looked.ok() ? "found in no single step" : "and its steps could not be checked: " + looked.message());
}

// The CPU runs the network from here on, and this run again.
Status PluginExecutor::leave_device(const Graph& graph, const PortValues& inputs, bool timed) {
  SPARSENET_ASSIGN_OR_RETURN(auto cpu, make_host_executor(graph, nullptr, cpu_options()));
  for (size_t i = 0; i < inputs.size(); ++i) {
    SPARSENET_RETURN_IF_ERROR(cpu->set_input_elements(i, inputs[i].data()));
  }
  cpu_ = std::move(cpu);
  device_.reset();
  describe();
  return cpu_->run(timed);
}

Status PluginExecutor::check_first_run(bool timed) {
  // Inputs are to be set before every run: of one that was not, the device may hold anything.
  const PortValues inputs = std::exchange(kept_inputs_, PortValues(kept_inputs_.size()));
  for (const std::vector<uint8_t>& input : inputs) {
    if (input.empty()) return {};
  }
  const auto checked = find_fault(options_.device_check == DeviceCheck::kSteps, inputs);
  const std::string backend = device_->device_text();
  if (checked.status().code() == StatusCode::kOutOfMemory && !options_.strict) {
    note(backend + ": its first run is not compared with the CPU: " + checked.status().message());
  } else if (!checked.ok()) {
    return checked.status().with_context(backend + ": comparing its first run with the CPU");
  } else if (checked->empty()) {
    keep_verdict(device_->cache_folder(), device_->identity(*unchecked_));
  }
  const Graph graph = std::move(*unchecked_);
  unchecked_.reset();
  kept_inputs_.clear();
  device_->forget_constants();
  if (!checked.ok() || checked->empty()) return {};
  const std::string why = backend + " does not compute what the CPU does: " + *checked;
  wrong_ = {StatusCode::kInternal, why};
  if (options_.strict) return wrong_;
  note(why + "; the CPU runs the network from here on");
  const Status left = leave_device(graph, inputs, timed);
  if (!cpu_) wrong_ = left.with_context(why);
  return cpu_ ? left : wrong_;
}

Status PluginExecutor::run(bool timed) {
  if (cpu_) return cpu_->run(timed);
  SPARSENET_RETURN_IF_ERROR(wrong_);
  const Status ran = device_->run(timed);
  if (ran.ok() && unchecked_) return check_first_run(timed);
  for (std::vector<uint8_t>& input : kept_inputs_) input.clear();
  return ran;
}

}  // namespace

Result<std::unique_ptr<Executor>> make_plugin_executor(const Graph& graph, const Model* stored,
                                                       const SessionOptions& options) {
  auto executor = std::make_unique<PluginExecutor>();
  SPARSENET_RETURN_IF_ERROR(executor->create(graph, stored, options));
  return std::unique_ptr<Executor>(std::move(executor));
}

Result<MemoryReport> measure_on_plugin(const Graph& graph, const Model* stored, const SessionOptions& options) {
  return PluginExecutor().measure(graph, stored, options);
}

}  // namespace sparsenet

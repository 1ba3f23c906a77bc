// The executor of backends that are plugins: makes the plan in the form that plugins get, lets the plugin run what it
// can and the CPU the rest, and makes sure on the first run that the device computes what the CPU does.
#include <sparsenet/model.h>

#include <cstdio>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "format/plan_format.h"
#include "passes/pipeline.h"
#include "plan/plan.h"
#include "plugin/loader.h"
#include "plugin/plan_data.h"
#include "plugin/prepared.h"
#include "session/bound_plan.h"
#include "session/cache_folder.h"
#include "session/device_check.h"
#include "session/executor.h"
#include "session/plugin_parts.h"
#include "session/stored_constants.h"
#include "step/step_kinds.h"

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
  const std::vector<StepInfo>& steps() const override { return cpu_ ? cpu_->steps() : infos_; }
  int threads() const override { return cpu_ ? cpu_->threads() : parts_.has_host_steps() ? bound_.threads() : 1; }
  int64_t images_at_once() const override { return cpu_ ? cpu_->images_at_once() : options_.batch; }
  bool uses_stored_plan() const override { return cpu_ && cpu_->uses_stored_plan(); }

 private:
  Status prepare(const Graph& graph, const SessionOptions& options);
  Status find_plugin_and_device();
  Status place();
  Status run_on_cpu(const Graph& graph, const Model* stored);
  Status check_memory();
  void describe();
  void describe_steps();
  void note(const std::string& text) const;
  SessionOptions cpu_options() const;
  std::string verdict_key() const;

  Status run_device(bool timed);
  Status run_parts(bool timed);
  Status check_first_run(bool timed);
  Status leave_device(const Graph& graph, const PortValues& inputs, bool timed);
  Result<std::string> find_fault(bool each_step, const PortValues& inputs);

  SessionOptions options_;
  const Plugin* plugin_ = nullptr;
  std::string cache_folder_, device_name_, driver_;
  snp_options device_options_{};
  StoredPlan plan_;
  Support support_;
  Placement placement_;
  PluginParts parts_;
  std::optional<PlanData> data_;  // of the device's part; only until that is prepared
  PreparedPlan prepared_;
  BindOptions bind_;
  BoundPlan bound_;  // of the CPU's steps
  MemoryReport memory_;
  std::vector<StepInfo> infos_;

  // In place of all that: the whole network on the CPU.
  std::unique_ptr<Executor> cpu_;

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

Status PluginExecutor::find_plugin_and_device() {
  const std::string wanted = options_.backend == Backend::kPlugin ? options_.plugin : name(options_.backend);
  if (wanted.empty()) return invalid_argument("plugin: expected the name of a plugin, found an empty one");
  SPARSENET_ASSIGN_OR_RETURN(plugin_, find_plugin(wanted));
  SPARSENET_ASSIGN_OR_RETURN(const uint32_t devices, count_devices(*plugin_));
  if (options_.device >= devices) {
    const std::string found = devices == 0   ? "none"
                              : devices == 1 ? "device 0 alone"
                                             : "devices 0 to " + std::to_string(devices - 1);
    return (devices == 0 ? unsupported : invalid_argument)("backend '" + wanted + "': expected device " +
                                                           std::to_string(options_.device) + ", found " + found);
  }
  snp_device device{};
  device.struct_size = sizeof device;
  SPARSENET_RETURN_IF_ERROR(
      plugin_status(*plugin_, plugin_->table->describe_device(options_.device, &device), "describing its device"));
  device_name_ = device.name ? device.name : "";
  if (device.driver) driver_ = device.driver;
  return {};
}

// Everything but the device's and the CPU's memory.
Status PluginExecutor::prepare(const Graph& source, const SessionOptions& options) {
  options_ = options;
  SPARSENET_RETURN_IF_ERROR(find_plugin_and_device());
  const std::string backend = "backend '" + plugin_->name + "': ";
  const bool half = options.precision == Precision::kFloat16 && plugin_->can(SNP_CAN_FLOAT16);
  if (options.precision != Precision::kFloat32 && !half) {
    return unsupported("precision " + std::string(name(options.precision)) + ": backend '" + plugin_->name +
                       "' has f32" + (plugin_->can(SNP_CAN_FLOAT16) ? " and f16" : " only"));
  }
  if (options.memory) return invalid_argument("memory: " + backend + "it keeps everything in its device's memory");
  if (options.images_at_once != 0 && options.images_at_once != options.batch) {
    return unsupported("images_at_once: " + backend + "it computes all images of a batch at once");
  }
  // Also where the device runs everything: the CPU checks its first run.
  SPARSENET_RETURN_IF_ERROR(choose_backend(Backend::kAuto, options.threads, options.thread_hook, &bind_));
  bind_.flush_denormals = options.flush_denormals;
  bind_.large_weights = options.large_weights;
  cache_folder_ = cache_folder(options.cache_folder);
  device_options_ = {};
  device_options_.struct_size = sizeof device_options_;
  device_options_.device = options.device;
  device_options_.precision = options.precision == Precision::kFloat16 ? SNP_FLOAT16 : SNP_FLOAT32;
  device_options_.flags =
      (options.tune && plugin_->can(SNP_CAN_TUNE) ? SNP_TUNE : 0u) | (options.tensor_cores ? SNP_TENSOR_CORES : 0u);
  device_options_.cache_folder = cache_folder_.empty() ? nullptr : cache_folder_.c_str();

  Graph graph = source;
  SPARSENET_RETURN_IF_ERROR(graph.set_batch(options.batch));
  SPARSENET_RETURN_IF_ERROR(run_passes(&graph, options.optimize ? PassLevel::kAll : PassLevel::kRequired));
  SPARSENET_ASSIGN_OR_RETURN(Plan plan, make_plan(graph));
  SPARSENET_ASSIGN_OR_RETURN(plan_, gather_constants(std::move(plan), graph, source));
  return place();
}

// Asks the plugin what it runs, and cuts the plan accordingly. kUnsupported: not everything, but the session is strict.
Status PluginExecutor::place() {
  const Plan& plan = *plan_.plan;
  const bool widen = !plugin_->can(SNP_READS_FLOAT16);
  const PlanRange all = whole_range(plan);
  SPARSENET_ASSIGN_OR_RETURN(const PlanData whole, PlanData::make(plan, plan_.constants, all, widen));
  SPARSENET_ASSIGN_OR_RETURN(support_, ask_support(*plugin_, whole.plan(), device_options_));
  placement_ = place_steps(plan, support_.supported, support_.reasons, plugin_->name);
  if (!placement_.missing.empty() && options_.strict) {
    return unsupported(placement_.missing + ", and a strict session falls back to nothing else");
  }
  if (!placement_.on_device) return {};
  parts_.cut(plan, placement_.begin, placement_.end);
  SPARSENET_ASSIGN_OR_RETURN(data_, PlanData::make(plan, plan_.constants, parts_.device(), widen));
  return {};
}

// Fills in the report: of the device, and of the CPU's part.
Status PluginExecutor::check_memory() {
  SPARSENET_ASSIGN_OR_RETURN(const snp_needs needs, measure_plan(*plugin_, data_->plan(), device_options_));
  uint64_t total = rt::add_bytes(rt::add_bytes(needs.arena_bytes, needs.weights_bytes), needs.scratch_bytes);
  if (parts_.has_host_steps()) {
    SPARSENET_ASSIGN_OR_RETURN(const PlanCost host, measure_plan(parts_.host(), bind_));
    total = rt::add_bytes(total, host.total_bytes(bind_.threads));
  }
  if (total > rt::kMostBytes) return out_of_memory("the session needs more memory than can be addressed");
  memory_.arena_bytes = static_cast<size_t>(needs.arena_bytes);
  memory_.weights_bytes = static_cast<size_t>(needs.weights_bytes);
  memory_.scratch_bytes = static_cast<size_t>(needs.scratch_bytes);
  memory_.lower_bound_bytes = plan_.plan->lower_bound_bytes;
  memory_.total_bytes = static_cast<size_t>(total);
  if (options_.max_memory_bytes > 0 && memory_.total_bytes > options_.max_memory_bytes) {
    return out_of_memory("the session needs " + std::to_string(memory_.total_bytes) + " bytes, more than the " +
                         std::to_string(options_.max_memory_bytes) + " that it may take");
  }
  return {};
}

SessionOptions PluginExecutor::cpu_options() const {
  SessionOptions options = options_;
  options.backend = Backend::kAuto;
  options.precision = Precision::kFloat32;
  return options;
}

Status PluginExecutor::run_on_cpu(const Graph& graph, const Model* stored) {
  SPARSENET_ASSIGN_OR_RETURN(cpu_, make_host_executor(graph, stored, cpu_options()));
  inputs_ = cpu_->inputs();
  outputs_ = cpu_->outputs();
  buffers_ = cpu_->buffers();
  plan_ = {};
  return {};
}

Status PluginExecutor::create(const Graph& graph, const Model* stored, const SessionOptions& options) {
  SPARSENET_RETURN_IF_ERROR(prepare(graph, options));
  if (!placement_.missing.empty()) note(placement_.missing + ": " + placement_.consequence);
  if (!placement_.on_device) return run_on_cpu(graph, stored);
  SPARSENET_RETURN_IF_ERROR(check_memory());
  SPARSENET_RETURN_IF_ERROR(prepared_.create(*plugin_, data_->plan(), device_options_));
  if (parts_.has_host_steps()) SPARSENET_RETURN_IF_ERROR(bound_.create(parts_.host(), bind_));
  data_.reset();
  describe();
  const bool check = options.device_check != DeviceCheck::kOff;
  if (check && !(options.device_check == DeviceCheck::kOutputs && was_checked(cache_folder_, verdict_key()))) {
    unchecked_ = graph;
    kept_inputs_.resize(plan_.plan->inputs.size());
  } else {
    plan_.constants.clear();
  }
  return {};
}

Result<MemoryReport> PluginExecutor::measure(const Graph& graph, const Model* stored, const SessionOptions& options) {
  SPARSENET_RETURN_IF_ERROR(prepare(graph, options));
  if (!placement_.on_device) return measure_on_host(graph, stored, cpu_options());
  SPARSENET_RETURN_IF_ERROR(check_memory());
  return memory_;
}

std::string PluginExecutor::verdict_key() const {
  char identity[32];
  std::snprintf(identity, sizeof identity, "%016llx", static_cast<unsigned long long>(plan_.graph_identity));
  return "engine " + version() + ", network " + std::string(identity) + ", batch " + std::to_string(options_.batch) +
         ", precision " + name(options_.precision) + (options_.optimize ? "" : ", not optimized") + ", flags " +
         std::to_string(device_options_.flags) + ", plugin " + plugin_->name + " " + plugin_->version + ", device " +
         device_name_ + ", driver " + driver_ + ", steps " + std::to_string(placement_.begin) + " to " +
         std::to_string(placement_.end) + "\n" + requirements_of(*plugin_, device_options_);
}

void PluginExecutor::describe() {
  const auto add = [](const std::vector<PlanPort>& ports, std::vector<TensorInfo>* infos) {
    for (const PlanPort& port : ports) {
      infos->push_back({port.name, static_cast<DataType>(port.view.type), port.shape, port.quantization});
    }
  };
  add(plan_.plan->inputs, &inputs_);
  add(plan_.plan->outputs, &outputs_);
  for (const PlanBuffer& b : plan_.plan->buffers) buffers_.push_back({b.name, b.offset, b.bytes, b.first, b.last});
  describe_steps();
}

void PluginExecutor::describe_steps() {
  const Plan& plan = *plan_.plan;
  size_t host = 0;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const bool on_device = i >= placement_.begin && i < placement_.end;
    StepInfo info;
    if (on_device) {
      info.name = plan.steps[i].name;
      info.op = rt::step_name(plan.steps[i].op);
      info.kernel = plugin_->name;
      info.backend = plugin_->name;
      info.is_copy = plan.steps[i].is_copy;
      info.macs = plan.step_macs[i];
      info.least_bytes = least_bytes(plan.steps[i], options_.precision == Precision::kFloat16);
    } else {
      info = bound_.steps()[host++];
      const char* reason = support_.reasons[i];
      info.reason = support_.supported[i] ? "cut off by steps that the plugin does not support"
                    : reason              ? reason
                                          : "not supported by the plugin";
    }
    infos_.push_back(std::move(info));
  }
}

Status PluginExecutor::set_input_elements(size_t index, const void* data) {
  if (cpu_) return cpu_->set_input_elements(index, data);
  const PlanPort& port = plan_.plan->inputs[index];
  if (parts_.begins_on_device()) {
    SPARSENET_RETURN_IF_ERROR(prepared_.set_input(index, data, bytes_of(port)));
  } else {
    bound_.write_elements(port, data);
  }
  if (unchecked_) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    kept_inputs_[index].assign(bytes, bytes + bytes_of(port));
  }
  return {};
}

Status PluginExecutor::set_input(size_t index, const float* data) {
  if (cpu_) return cpu_->set_input(index, data);
  const PlanPort& port = plan_.plan->inputs[index];
  if (port.view.type == rt::DataType::kFloat32) return set_input_elements(index, data);
  return set_input_elements(index, to_elements(port, data).data());
}

Status PluginExecutor::get_output_elements(size_t index, void* data) {
  if (cpu_) return cpu_->get_output_elements(index, data);
  const PlanPort& port = plan_.plan->outputs[index];
  if (parts_.ends_on_device()) return prepared_.get_output(index, data, bytes_of(port));
  bound_.read_elements(port, data);
  return {};
}

Status PluginExecutor::get_output(size_t index, float* data) {
  if (cpu_) return cpu_->get_output(index, data);
  const PlanPort& port = plan_.plan->outputs[index];
  if (port.view.type == rt::DataType::kFloat32) return get_output_elements(index, data);
  std::vector<uint8_t> elements(bytes_of(port));
  SPARSENET_RETURN_IF_ERROR(get_output_elements(index, elements.data()));
  from_elements(port, elements, data);
  return {};
}

Status PluginExecutor::run_device(bool timed) {
  if (!timed) return prepared_.run();
  std::vector<snp_step_profile> profiles;
  SPARSENET_RETURN_IF_ERROR(prepared_.profile(&profiles, placement_.end - placement_.begin));
  for (size_t i = 0; i < profiles.size(); ++i) {
    StepInfo& info = infos_[placement_.begin + i];
    info.milliseconds = profiles[i].milliseconds;
    info.launches = profiles[i].launches;
    info.bytes_read = profiles[i].bytes_read;
    info.bytes_written = profiles[i].bytes_written;
    if (profiles[i].kernel) info.kernel = profiles[i].kernel;
  }
  return {};
}

// The CPU's first steps, the device's, and the CPU's last ones, with the buffers that are alive in between.
Status PluginExecutor::run_parts(bool timed) {
  if (!parts_.has_host_steps()) return run_device(timed);
  const size_t before = parts_.host_steps_before(), all = bound_.steps().size();
  const auto execute = [&](size_t begin, size_t end) {
    if (timed) {
      bound_.execute_timed(begin, end);
    } else {
      bound_.execute(begin, end);
    }
  };
  const auto place = [&](const PlanPort& port) { return bound_.host_arena() + port.view.segments[0].offset; };
  SPARSENET_RETURN_IF_ERROR(bound_.begin_run());
  if (timed) bound_.reset_times();
  execute(0, before);
  Status status;
  const PlanRange& range = parts_.device();
  for (size_t i = 0; status.ok() && !parts_.begins_on_device() && i < range.inputs.size(); ++i) {
    status = prepared_.set_input(i, place(range.inputs[i]), bytes_of(range.inputs[i]));
  }
  if (status.ok()) status = run_device(timed);
  for (size_t i = 0; status.ok() && !parts_.ends_on_device() && i < range.outputs.size(); ++i) {
    status = prepared_.get_output(i, place(range.outputs[i]), bytes_of(range.outputs[i]));
  }
  if (status.ok()) execute(before, all);
  const Status ended = bound_.end_run();
  SPARSENET_RETURN_IF_ERROR(status);
  SPARSENET_RETURN_IF_ERROR(bound_.misuse());
  for (size_t host = 0; timed && host < all; ++host) {
    const size_t step = host < before ? host : host + (placement_.end - placement_.begin);
    infos_[step].milliseconds = bound_.steps()[host].milliseconds;
  }
  return ended;
}

// What is wrong with the first run, or nothing.
Result<std::string> PluginExecutor::find_fault(bool each_step, const PortValues& inputs) {
  const Graph& graph = *unchecked_;
  std::string fault;
  const auto check_steps = [&] {
    return check_each_step(*plugin_, device_options_, *plan_.plan, plan_.constants, placement_.begin, placement_.end,
                           options_, inputs, &fault);
  };
  if (each_step) {
    SPARSENET_RETURN_IF_ERROR(check_steps());
    if (!fault.empty()) return fault;
  }
  PortValues outputs;
  for (size_t i = 0; i < plan_.plan->outputs.size(); ++i) {
    outputs.emplace_back(bytes_of(plan_.plan->outputs[i]));
    SPARSENET_RETURN_IF_ERROR(get_output_elements(i, outputs.back().data()));
  }
  SPARSENET_ASSIGN_OR_RETURN(const double error, compare_outputs(graph, options_, inputs_, outputs_, inputs, outputs));
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
  prepared_.reset();
  cpu_ = std::move(cpu);
  buffers_ = cpu_->buffers();
  return cpu_->run(timed);
}

Status PluginExecutor::check_first_run(bool timed) {
  // Inputs are to be set before every run: of one that was not, the device may hold anything.
  const PortValues inputs = std::exchange(kept_inputs_, PortValues(kept_inputs_.size()));
  for (const std::vector<uint8_t>& input : inputs) {
    if (input.empty()) return {};
  }
  const auto checked = find_fault(options_.device_check == DeviceCheck::kSteps, inputs);
  const std::string backend = "backend '" + plugin_->name + "' on device '" + device_name_ + "'";
  if (checked.status().code() == StatusCode::kOutOfMemory && !options_.strict) {
    note(backend + ": its first run is not compared with the CPU: " + checked.status().message());
  } else if (!checked.ok()) {
    return checked.status().with_context(backend + ": comparing its first run with the CPU");
  } else if (checked->empty()) {
    keep_verdict(cache_folder_, verdict_key());
  }
  const Graph graph = std::move(*unchecked_);
  unchecked_.reset();
  kept_inputs_.clear();
  plan_.constants.clear();
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
  const Status ran = run_parts(timed);
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

#include "session/device_plan.h"

#include <cstdio>
#include <utility>

#include "format/plan_format.h"
#include "passes/pipeline.h"
#include "session/cache_folder.h"
#include "session/stored_constants.h"
#include "step/step_kinds.h"

namespace sparsenet {

Status DevicePlan::find_device() {
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

Status DevicePlan::check_options() {
  const SessionOptions& options = options_;
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
  return {};
}

Status DevicePlan::plan(const Graph& source, const SessionOptions& options) {
  options_ = options;
  SPARSENET_RETURN_IF_ERROR(find_device());
  SPARSENET_RETURN_IF_ERROR(check_options());
  // Also where the device runs everything: the CPU checks its first run.
  SPARSENET_RETURN_IF_ERROR(choose_backend(Backend::kAuto, options.threads, options.thread_hook, &bind_));
  bind_.flush_denormals = options.flush_denormals;
  bind_.large_weights = options.large_weights;
  cache_folder_ = sparsenet::cache_folder(options.cache_folder);
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
  SPARSENET_ASSIGN_OR_RETURN(Plan made, make_plan(graph));
  SPARSENET_ASSIGN_OR_RETURN(stored_, gather_constants(std::move(made), graph, source));
  return place();
}

// Asks the plugin what it runs, and cuts the plan accordingly. kUnsupported: not everything, but the session is strict.
Status DevicePlan::place() {
  const Plan& plan = *stored_.plan;
  const bool widen = !plugin_->can(SNP_READS_FLOAT16);
  const PlanRange all = whole_range(plan);
  SPARSENET_ASSIGN_OR_RETURN(const PlanData whole, PlanData::make(plan, stored_.constants, all, widen));
  SPARSENET_ASSIGN_OR_RETURN(support_, ask_support(*plugin_, whole.plan(), device_options_));
  placement_ = place_steps(plan, support_.supported, support_.reasons, plugin_->name);
  if (!placement_.missing.empty() && options_.strict) {
    return unsupported(placement_.missing + ", and a strict session falls back to nothing else");
  }
  if (!placement_.on_device) return {};
  SPARSENET_RETURN_IF_ERROR(parts_.cut(plan, placement_.begin, placement_.end));
  SPARSENET_ASSIGN_OR_RETURN(data_, PlanData::make(plan, stored_.constants, parts_.device(), widen));
  return {};
}

// Of the device, and of the CPU's part.
Result<MemoryReport> DevicePlan::measure() {
  SPARSENET_ASSIGN_OR_RETURN(const snp_needs needs, measure_plan(*plugin_, data_->plan(), device_options_));
  uint64_t total = rt::add_bytes(rt::add_bytes(needs.arena_bytes, needs.weights_bytes), needs.scratch_bytes);
  if (parts_.has_host_steps()) {
    SPARSENET_ASSIGN_OR_RETURN(const PlanCost host, measure_plan(parts_.host(), bind_));
    total = rt::add_bytes(total, host.total_bytes(bind_.threads));
  }
  if (total > rt::kMostBytes) return out_of_memory("the session needs more memory than can be addressed");
  MemoryReport memory;
  memory.arena_bytes = static_cast<size_t>(needs.arena_bytes);
  memory.weights_bytes = static_cast<size_t>(needs.weights_bytes);
  memory.scratch_bytes = static_cast<size_t>(needs.scratch_bytes);
  memory.lower_bound_bytes = stored_.plan->lower_bound_bytes;
  memory.total_bytes = static_cast<size_t>(total);
  if (options_.max_memory_bytes > 0 && memory.total_bytes > options_.max_memory_bytes) {
    return out_of_memory("the session needs " + std::to_string(memory.total_bytes) + " bytes, more than the " +
                         std::to_string(options_.max_memory_bytes) + " that it may take");
  }
  return memory;
}

Status DevicePlan::load() {
  SPARSENET_RETURN_IF_ERROR(prepared_.create(*plugin_, data_->plan(), device_options_));
  if (parts_.has_host_steps()) SPARSENET_RETURN_IF_ERROR(bound_.create(parts_.host(), bind_));
  data_.reset();
  describe_steps();
  return {};
}

void DevicePlan::describe_steps() {
  const Plan& plan = *stored_.plan;
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

Status DevicePlan::set_input(size_t index, const void* data) {
  const PlanPort& port = stored_.plan->inputs[index];
  if (parts_.begins_on_device()) return prepared_.set_input(index, data, bytes_of(port));
  bound_.write_elements(port, data);
  return {};
}

Status DevicePlan::get_output(size_t index, void* data) {
  const PlanPort& port = stored_.plan->outputs[index];
  if (parts_.ends_on_device()) return prepared_.get_output(index, data, bytes_of(port));
  bound_.read_elements(port, data);
  return {};
}

Status DevicePlan::run_device(bool timed) {
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
Status DevicePlan::run(bool timed) {
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

Status DevicePlan::check_steps(const PortValues& inputs, std::string* fault) const {
  return check_each_step(*plugin_, device_options_, *stored_.plan, stored_.constants, placement_.begin, placement_.end,
                         options_, inputs, fault);
}

std::string DevicePlan::identity(const Graph& graph) const {
  char hash[32];
  std::snprintf(hash, sizeof hash, "%016llx", static_cast<unsigned long long>(graph_identity(graph)));
  return "engine " + version() + ", network " + std::string(hash) + ", batch " + std::to_string(options_.batch) +
         ", precision " + name(options_.precision) + (options_.optimize ? "" : ", not optimized") + ", flags " +
         std::to_string(device_options_.flags) + ", plugin " + plugin_->name + " " + plugin_->version + ", device " +
         device_name_ + ", driver " + driver_ + ", steps " + std::to_string(placement_.begin) + " to " +
         std::to_string(placement_.end) + "\n" + requirements_of(*plugin_, device_options_);
}

}  // namespace sparsenet

// DevicePlan: a network's plan on the device of a plugin, with the CPU for the steps that the plugin lacks.
#pragma once

#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <optional>
#include <string>
#include <vector>

#include "plan/plan.h"
#include "plugin/loader.h"
#include "plugin/plan_data.h"
#include "plugin/prepared.h"
#include "session/bound_plan.h"
#include "session/device_check.h"
#include "session/plugin_parts.h"

namespace sparsenet {

class DevicePlan {
 public:
  DevicePlan() = default;
  DevicePlan(const DevicePlan&) = delete;
  DevicePlan& operator=(const DevicePlan&) = delete;

  // Finds plugin and device, makes the plan and decides which steps run where; to be called once, and first. Errors are
  // those of Session::create; kUnsupported if the plugin cannot run everything and the session is strict.
  Status plan(const Graph& graph, const SessionOptions& options);
  const Placement& placement() const { return placement_; }

  // If something is on the device: the memory that load() takes, and load() itself.
  Result<MemoryReport> measure();
  Status load();

  // Elements of a port's own type.
  Status set_input(size_t index, const void* data);
  Status get_output(size_t index, void* data);
  Status run(bool timed);

  // Compares each step on the device with the CPU, for inputs of the graph: see check_each_step().
  Status check_steps(const PortValues& inputs, std::string* fault) const;
  // Constants are only kept for check_steps().
  void forget_constants() { stored_.constants.clear(); }

  // Identifies network, device, driver, plugin and options.
  std::string identity(const Graph& graph) const;
  std::string device_text() const { return "backend '" + plugin_->name + "' on device '" + device_name_ + "'"; }
  const std::string& cache_folder() const { return cache_folder_; }
  const Plan& steps_and_ports() const { return *stored_.plan; }
  const std::vector<StepInfo>& steps() const { return infos_; }
  int threads() const { return parts_.has_host_steps() ? bound_.threads() : 1; }

 private:
  Status find_device();
  Status check_options();
  Status place();
  void describe_steps();
  Status run_device(bool timed);

  SessionOptions options_;
  const Plugin* plugin_ = nullptr;
  std::string cache_folder_, device_name_, driver_;
  snp_options device_options_{};
  StoredPlan stored_;
  Support support_;
  Placement placement_;
  PluginParts parts_;
  std::optional<PlanData> data_;  // of the device's part, until that is prepared
  PreparedPlan prepared_;
  BindOptions bind_;
  BoundPlan bound_;  // of the CPU's steps
  std::vector<StepInfo> infos_;
};

}  // namespace sparsenet

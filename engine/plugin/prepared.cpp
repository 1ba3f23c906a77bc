#include "plugin/prepared.h"

#include <chrono>

namespace sparsenet {

Result<Support> ask_support(const Plugin& plugin, const snp_plan& plan, const snp_options& options) {
  Support support;
  support.supported.assign(plan.step_count, 0);
  support.reasons.assign(plan.step_count, nullptr);
  const snp_status status = plugin.table->supports(&plan, &options, support.supported.data(), support.reasons.data());
  SPARSENET_RETURN_IF_ERROR(plugin_status(plugin, status, "asking which steps it supports"));
  return support;
}

Result<snp_needs> measure_plan(const Plugin& plugin, const snp_plan& plan, const snp_options& options) {
  snp_needs needs{};
  needs.struct_size = sizeof needs;
  const snp_status status = plugin.table->measure(&plan, &options, &needs);
  SPARSENET_RETURN_IF_ERROR(plugin_status(plugin, status, "measuring a plan"));
  return needs;
}

std::string requirements_of(const Plugin& plugin, const snp_options& options) {
  if (!SPARSENET_PLUGIN_HAS(plugin, requirements)) return "";
  char text[1024] = "";
  if (plugin.table->requirements(&options, text, sizeof text) != SNP_OK) return "";
  text[sizeof text - 1] = '\0';
  return text;
}

Status PreparedPlan::create(const Plugin& plugin, const snp_plan& plan, const snp_options& options) {
  reset();
  plugin_ = &plugin;
  const snp_status status = plugin.table->prepare(&plan, &options, &prepared_);
  if (status != SNP_OK) prepared_ = nullptr;
  SPARSENET_RETURN_IF_ERROR(plugin_status(plugin, status, "preparing a plan"));
  return prepared_ ? Status() : internal_error("backend '" + plugin.name + "': it prepared nothing");
}

void PreparedPlan::reset() {
  // The child of a fork() leaves what its parent prepared as it is: calling the driver might never return.
  if (prepared_ && enter_driver(*plugin_).ok()) plugin_->table->destroy(prepared_);
  prepared_ = nullptr;
}

Status PreparedPlan::set_input(size_t index, const void* data, uint64_t bytes) {
  SPARSENET_RETURN_IF_ERROR(enter_driver(*plugin_));
  const snp_status status =
      plugin_->table->set_input(prepared_, static_cast<uint32_t>(index), data, bytes, SNP_HOST_MEMORY);
  return plugin_status(*plugin_, status, "setting an input");
}

Status PreparedPlan::get_output(size_t index, void* data, uint64_t bytes) {
  SPARSENET_RETURN_IF_ERROR(enter_driver(*plugin_));
  const snp_status status =
      plugin_->table->get_output(prepared_, static_cast<uint32_t>(index), data, bytes, SNP_HOST_MEMORY);
  return plugin_status(*plugin_, status, "reading an output");
}

Status PreparedPlan::run() {
  SPARSENET_RETURN_IF_ERROR(enter_driver(*plugin_));
  return plugin_status(*plugin_, plugin_->table->run(prepared_), "running a plan");
}

Status PreparedPlan::profile(std::vector<snp_step_profile>* profiles, size_t steps) {
  snp_step_profile none{};
  none.struct_size = sizeof none;
  profiles->assign(steps, none);
  SPARSENET_RETURN_IF_ERROR(enter_driver(*plugin_));
  if (SPARSENET_PLUGIN_HAS(*plugin_, profile)) {
    const snp_status status = plugin_->table->profile(prepared_, profiles->data(), static_cast<uint32_t>(steps));
    return plugin_status(*plugin_, status, "profiling a plan");
  }
  const auto start = std::chrono::steady_clock::now();
  SPARSENET_RETURN_IF_ERROR(run());
  if (!profiles->empty()) {
    (*profiles)[0].milliseconds =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }
  return {};
}

}  // namespace sparsenet

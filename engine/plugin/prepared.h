// PreparedPlan: a plan that a plugin has prepared, with failures as Status.
#pragma once

#include <sparsenet/plugin.h>
#include <sparsenet/status.h>

#include <cstdint>
#include <string>
#include <vector>

#include "plugin/loader.h"

namespace sparsenet {

// Which steps a plugin supports; for the others, why not (null: it does not say).
struct Support {
  std::vector<uint8_t> supported;
  std::vector<const char*> reasons;
};
Result<Support> ask_support(const Plugin& plugin, const snp_plan& plan, const snp_options& options);

Result<snp_needs> measure_plan(const Plugin& plugin, const snp_plan& plan, const snp_options& options);

// What results depend on besides the plan; empty if the plugin does not say.
std::string requirements_of(const Plugin& plugin, const snp_options& options);

class PreparedPlan {
 public:
  PreparedPlan() = default;
  ~PreparedPlan() { reset(); }
  PreparedPlan(const PreparedPlan&) = delete;
  PreparedPlan& operator=(const PreparedPlan&) = delete;

  Status create(const Plugin& plugin, const snp_plan& plan, const snp_options& options);
  void reset();
  explicit operator bool() const { return prepared_ != nullptr; }

  // Elements of the port's type, in its order outside.
  Status set_input(size_t index, const void* data, uint64_t bytes);
  Status get_output(size_t index, void* data, uint64_t bytes);
  Status run();
  // Runs once, with a profile for each step. If the plugin makes none, times are of the whole run and in the first.
  Status profile(std::vector<snp_step_profile>* profiles, size_t steps);

 private:
  const Plugin* plugin_ = nullptr;
  snp_prepared* prepared_ = nullptr;
};

}  // namespace sparsenet

// Plugin: the functions of snp_plugin over a driver. Both GPU plugins are this with a driver of their own.
#pragma once

#include <sparsenet/plugin.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "backends/gpu/device.h"
#include "backends/gpu/host.h"

namespace sparsenet::gpu {

// What tells one plugin from another. The texts are in static storage.
struct PluginIdentity {
  const char* name;
  const char* version;
  int32_t score;
  std::unique_ptr<Driver> (*make_driver)();
};

// The functions have the meaning of snp_plugin's. They may throw.
class Plugin {
 public:
  explicit Plugin(const PluginIdentity& identity) : identity_(identity) {}

  // Null if the plugin works with this host, else why not, in static storage.
  const char* attach(const snp_host* host);

  Outcome describe(snp_description* description) const;
  Outcome count_devices(uint32_t* count);
  Outcome describe_device(uint32_t index, snp_device* device);
  Outcome supports(const snp_plan* plan, const snp_options* options, uint8_t* supported, const char** reasons);
  Outcome measure(const snp_plan* plan, const snp_options* options, snp_needs* needs);
  Outcome prepare(const snp_plan* plan, const snp_options* options, snp_prepared** prepared);
  Outcome requirements(const snp_options* options, char* text, size_t capacity);

 private:
  // Opens the driver on the first call. After a failure the next call tries again.
  Outcome open(Driver** driver);
  Outcome find_device(const snp_options* options, Device** device);
  std::string requirements_of(const snp_options& options, const Traits& traits) const;

  const PluginIdentity identity_;
  std::atomic<const snp_host*> host_{nullptr};
  std::mutex mutex_;
  std::unique_ptr<Driver> driver_;
};

// Of a prepared plan. None of them is null except for destroy().
void destroy(snp_prepared* prepared);
Outcome set_input(snp_prepared* prepared, uint32_t index, const void* data, uint64_t bytes, uint32_t memory);
Outcome get_output(snp_prepared* prepared, uint32_t index, void* data, uint64_t bytes, uint32_t memory);
Outcome run(snp_prepared* prepared);
Outcome run_async(snp_prepared* prepared);
Outcome wait(snp_prepared* prepared);
Outcome profile(snp_prepared* prepared, snp_step_profile* profiles, uint32_t count);

// Calls a function so that no exception leaves it; writes the message in one line into `text`, of `capacity` bytes.
snp_status guarded(const std::function<Outcome()>& function, char* text, size_t capacity);

}  // namespace sparsenet::gpu

// The table of functions that a plugin hands to the host.
#pragma once

#include "backends/gpu/plugin.h"

namespace sparsenet::gpu {

// The functions of snp_plugin have no argument that says which plugin is meant, and a program may have several linked
// into it. So each plugin instantiates this with a function that returns its own.
template <Plugin& (*plugin)()>
class PluginTable {
 public:
  static const snp_plugin* attach(const snp_host* host, const char** why) {
    const char* reason = plugin().attach(host);
    if (why) *why = reason;
    if (reason) return nullptr;
    static const snp_plugin table = make();
    return &table;
  }

 private:
  // Plain memory, which nothing has to destroy when a thread or the process ends.
  static char* error() {
    static thread_local char text[kErrorBytes];
    return text;
  }
  template <class Function>
  static snp_status call(Function&& function) {
    return guarded(std::ref(function), error(), kErrorBytes);
  }

  static snp_plugin make() {
    snp_plugin table{};
    table.major = SNP_MAJOR;
    table.minor = SNP_MINOR;
    table.size = sizeof table;
    table.capabilities = SNP_CAN_FLOAT16 | SNP_CAN_DEVICE_POINTERS | SNP_CAN_TUNE | SNP_READS_FLOAT16;
    table.last_error = []() -> const char* { return error(); };
    table.describe = [](snp_description* d) { return call([&] { return plugin().describe(d); }); };
    table.count_devices = [](uint32_t* count) { return call([&] { return plugin().count_devices(count); }); };
    table.describe_device = [](uint32_t index, snp_device* device) {
      return call([&] { return plugin().describe_device(index, device); });
    };
    table.supports = [](const snp_plan* plan, const snp_options* options, uint8_t* supported, const char** reasons) {
      return call([&] { return plugin().supports(plan, options, supported, reasons); });
    };
    table.measure = [](const snp_plan* plan, const snp_options* options, snp_needs* needs) {
      return call([&] { return plugin().measure(plan, options, needs); });
    };
    table.prepare = [](const snp_plan* plan, const snp_options* options, snp_prepared** prepared) {
      return call([&] { return plugin().prepare(plan, options, prepared); });
    };
    table.destroy = [](snp_prepared* prepared) {
      call([&] {
        gpu::destroy(prepared);
        return Outcome();
      });
    };
    table.set_input = [](snp_prepared* prepared, uint32_t index, const void* data, uint64_t bytes, uint32_t memory) {
      return call([&] { return gpu::set_input(prepared, index, data, bytes, memory); });
    };
    table.run = [](snp_prepared* prepared) { return call([&] { return gpu::run(prepared); }); };
    table.get_output = [](snp_prepared* prepared, uint32_t index, void* data, uint64_t bytes, uint32_t memory) {
      return call([&] { return gpu::get_output(prepared, index, data, bytes, memory); });
    };
    table.run_async = [](snp_prepared* prepared) { return call([&] { return gpu::run_async(prepared); }); };
    table.wait = [](snp_prepared* prepared) { return call([&] { return gpu::wait(prepared); }); };
    table.profile = [](snp_prepared* prepared, snp_step_profile* profiles, uint32_t count) {
      return call([&] { return gpu::profile(prepared, profiles, count); });
    };
    table.requirements = [](const snp_options* options, char* text, size_t capacity) {
      return call([&] { return plugin().requirements(options, text, capacity); });
    };
    return table;
  }

  static constexpr size_t kErrorBytes = 1024;
};

}  // namespace sparsenet::gpu

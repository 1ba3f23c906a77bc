// The function that the plugin exports.
#include "backends/gpu/plugin_table.h"
#include "backends/opencl/driver.h"

// A program that the plugin is linked into, beside others, needs another name.
#ifndef SNP_ENTRY
#define SNP_ENTRY snp_entry
#endif

namespace sparsenet::opencl {
namespace {

gpu::Plugin& plugin() {
  // Never destroyed: when a process ends, OpenCL's own library may be gone first.
  static gpu::Plugin* const instance =
      new gpu::Plugin({"opencl", SPARSENET_VERSION, 100,
                       []() -> std::unique_ptr<gpu::Driver> { return std::make_unique<ClDriver>(); }});
  return *instance;
}

}  // namespace
}  // namespace sparsenet::opencl

extern "C" SNP_EXPORT const snp_plugin* SNP_ENTRY(const snp_host* host, const char** why) {
  try {
    return sparsenet::gpu::PluginTable<sparsenet::opencl::plugin>::attach(host, why);
  } catch (...) {
    if (why) *why = "the host has not enough memory";
    return nullptr;
  }
}

// The plugin "cuda": NVIDIA's devices through the driver's interface.
#include "backends/cuda/device.h"
#include "backends/gpu/plugin_table.h"

// Programs that link several plugins in give each entry a name of its own.
#ifndef SNP_ENTRY
#define SNP_ENTRY snp_entry
#endif

namespace sparsenet::gpu::cuda {
namespace {

Plugin& plugin() {
  // Never destroyed: when a process ends, the driver may have been shut down already.
  static Plugin* const instance = new Plugin(
      {"cuda", SPARSENET_VERSION, 100, []() -> std::unique_ptr<Driver> { return std::make_unique<CudaDriver>(); }});
  return *instance;
}

}  // namespace
}  // namespace sparsenet::gpu::cuda

extern "C" SNP_EXPORT const snp_plugin* SNP_ENTRY(const snp_host* host, const char** why) {
  try {
    return sparsenet::gpu::PluginTable<sparsenet::gpu::cuda::plugin>::attach(host, why);
  } catch (...) {
    if (why) *why = "the host has not enough memory";
    return nullptr;
  }
}

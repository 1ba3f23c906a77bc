#include <map>
#include <mutex>

#include "backends/gpu/device.h"
#include "backends/gpu/kernel_text.h"

namespace sparsenet::gpu {

// Sources are put together when they are asked for: the headers, which all of them begin with, are larger than most.
const char* kernel_source(const std::string& file) {
  static std::mutex mutex;
  static std::map<std::string, std::string> sources;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto known = sources.find(file);
  if (known != sources.end()) return known->second.c_str();
  for (size_t i = 0; i < kKernelFileCount; ++i) {
    if (file != kKernelFiles[i].name) continue;
    std::string source;
    for (size_t k = 0; k < kKernelHeaderCount; ++k) source += kKernelHeaders[k].text;
    source += kKernelFiles[i].text;
    return sources.emplace(file, std::move(source)).first->second.c_str();
  }
  return nullptr;
}

}  // namespace sparsenet::gpu

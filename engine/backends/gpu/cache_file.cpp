// Compiled alone: an Activation of the graph is another structure than an Activation of the kernels.
#include "backends/gpu/cache_file.h"

#include <sparsenet/model.h>

#include <cstdio>
#include <filesystem>
#include <system_error>

#include "base/checksum.h"

namespace sparsenet::gpu {

std::string cache_path(const std::string& folder, const std::string& key, const char* ending) {
  char name[32];
  std::snprintf(name, sizeof name, "/%016llx.", static_cast<unsigned long long>(xxh64(key.data(), key.size())));
  return folder + name + ending;
}

std::string write_cache_file(const std::string& folder, const std::string& path, const void* data, size_t bytes) {
  std::error_code error;  // if there is no folder, writing says so
  std::filesystem::create_directories(folder, error);
  return write_file_atomically(path, data, bytes).message();
}

}  // namespace sparsenet::gpu

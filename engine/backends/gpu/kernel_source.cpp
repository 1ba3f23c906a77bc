#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include "backends/gpu/device.h"
#include "backends/gpu/kernel_text.h"

namespace sparsenet::gpu {
namespace {

constexpr char kInclude[] = "#include \"";

const char* text_of(const std::string& name) {
  for (size_t i = 0; i < kKernelFileCount; ++i)
    if (name == kKernelFiles[i].name) return kKernelFiles[i].text;
  return nullptr;
}

// Appends a file's lines, and in the place of an #include those of the file that it names, unless they are there.
// Returns false if there is no such file.
bool append(const std::string& name, std::set<std::string>* seen, std::string* source) {
  if (!seen->insert(name).second) return true;
  const char* line = text_of(name);
  if (!line) return false;
  while (*line != '\0') {
    const char* end = std::strchr(line, '\n') + 1;  // Every line has one: see embed_kernels.cmake.
    if (std::strncmp(line, kInclude, sizeof kInclude - 1) == 0) {
      const char* file = line + sizeof kInclude - 1;
      if (!append(std::string(file, std::strchr(file, '"')), seen, source)) return false;
    } else {
      source->append(line, end);
    }
    line = end;
  }
  return true;
}

}  // namespace

// Sources are put together when they are asked for: what they include is larger than most of them.
const char* kernel_source(const std::string& file) {
  static std::mutex mutex;
  static std::map<std::string, std::string> sources;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto known = sources.find(file);
  if (known != sources.end()) return known->second.c_str();
  std::set<std::string> seen;
  std::string source;
  if (!append(file + ".cl", &seen, &source)) return nullptr;
  return sources.emplace(file, std::move(source)).first->second.c_str();
}

}  // namespace sparsenet::gpu

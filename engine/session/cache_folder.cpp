#include "session/cache_folder.h"

#include <cstdlib>
#include <filesystem>

namespace sparsenet {

std::string cache_folder(const std::string& wanted) {
  std::string folder = wanted;
  const auto of = [](const char* variable, const char* below) -> std::string {
    const char* value = std::getenv(variable);
    return value && value[0] == '/' ? std::string(value) + below : std::string();
  };
  if (folder.empty()) folder = of("XDG_CACHE_HOME", "/sparsenet");
  if (folder.empty()) folder = of("HOME", "/.cache/sparsenet");
  if (folder.empty()) return folder;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  return std::filesystem::is_directory(folder, error) ? folder : std::string();
}

}  // namespace sparsenet

// The file of tuned choices. It is text: a title, the requirements, a line "VALUE KEY" for each choice, and a last line
// with their number, which shows that the file is complete.
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "backends/gpu/tuning.h"

namespace sparsenet::gpu {
namespace {

constexpr const char* kTitle = "SparseNet tuning 1";
constexpr const char* kEnd = "end ";
constexpr std::uintmax_t kLargestFile = 1 << 24;  // of a file: more is not one of ours

std::filesystem::path path_of(const TuningFile& file) {
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : file.requirements) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  char name[48];
  std::snprintf(name, sizeof name, "%016llx.sntuning", static_cast<unsigned long long>(hash));
  return std::filesystem::u8path(file.folder) / name;
}

bool to_int(const std::string& text, int* value) {
  const char* end = text.data() + text.size();
  const std::from_chars_result result = std::from_chars(text.data(), end, *value);
  return result.ec == std::errc() && result.ptr == end && *value >= 0;
}

}  // namespace

Tuning read_tuning(const TuningFile& file) {
  if (file.folder.empty()) return {};
  const std::filesystem::path path = path_of(file);
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  if (error || bytes > kLargestFile) return {};
  std::ifstream stream(path);
  std::string line;
  if (!std::getline(stream, line) || line != kTitle) return {};
  if (!std::getline(stream, line) || line != file.requirements) return {};
  Tuning tuning;
  while (std::getline(stream, line)) {
    int value = 0;
    if (line.compare(0, std::char_traits<char>::length(kEnd), kEnd) == 0) {
      const bool complete = to_int(line.substr(std::char_traits<char>::length(kEnd)), &value) &&
                            static_cast<size_t>(value) == tuning.size();
      return complete ? tuning : Tuning();
    }
    const size_t space = line.find(' ');
    if (space == std::string::npos || !to_int(line.substr(0, space), &value)) return {};
    tuning[line.substr(space + 1)] = value;
  }
  return {};
}

Outcome write_tuning(const TuningFile& file, const Tuning& tuning) {
  if (file.folder.empty()) return {};
  const std::filesystem::path path = path_of(file);
  static std::atomic<unsigned> counter{0};
  std::filesystem::path temporary = path;
  temporary += "." + std::to_string(::getpid()) + "." + std::to_string(counter++) + ".tmp";
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  std::ofstream stream(temporary, std::ios::trunc);
  stream << kTitle << '\n' << file.requirements << '\n';
  for (const auto& [key, value] : tuning) stream << value << ' ' << key << '\n';
  stream << kEnd << tuning.size() << '\n';
  stream.close();
  error.clear();
  if (!stream.fail()) std::filesystem::rename(temporary, path, error);
  if (!stream.fail() && !error) return {};
  std::filesystem::remove(temporary, error);
  return failure(SNP_FAILED,
                 "tuned sizes could not be written to " + path.u8string() + "; they are found again next time");
}

}  // namespace sparsenet::gpu

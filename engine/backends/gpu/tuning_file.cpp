// The file of tuned choices. It is text: a title, the requirements, a line "VALUE KEY" for each choice, and a last line
// with their number, which shows that the file is complete.
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "backends/gpu/cache_file.h"
#include "backends/gpu/tuning.h"

namespace sparsenet::gpu {
namespace {

constexpr const char* kTitle = "SparseNet tuning 1";
constexpr const char* kEnd = "end ";
constexpr std::uintmax_t kLargestFile = 1 << 24;  // of a file: more is not one of ours

std::string path_of(const TuningFile& file) {
  return cache_path(file.folder, file.requirements, "sntuning");
}

bool to_int(const std::string& text, int* value) {
  const char* end = text.data() + text.size();
  const std::from_chars_result result = std::from_chars(text.data(), end, *value);
  return result.ec == std::errc() && result.ptr == end && *value >= 0;
}

}  // namespace

Tuning read_tuning(const TuningFile& file) {
  if (file.folder.empty()) return {};
  const std::string path = path_of(file);
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
  const std::string path = path_of(file);
  std::ostringstream text;
  text << kTitle << '\n' << file.requirements << '\n';
  for (const auto& [key, value] : tuning) text << value << ' ' << key << '\n';
  text << kEnd << tuning.size() << '\n';
  const std::string made = text.str();
  const std::string problem = write_cache_file(file.folder, path, made.data(), made.size());
  if (problem.empty()) return {};
  return failure(SNP_FAILED, "tuned sizes could not be kept, and are found again next time: " + problem);
}

}  // namespace sparsenet::gpu

#include "converter/io/file_bytes.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>

namespace sparsenet::converter {
namespace {

Result<std::vector<uint8_t>> read_limited(const std::string& path, uint64_t limit) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) {
    const std::string why = std::strerror(errno);
    return errno == ENOENT ? not_found(path + ": " + why) : io_error(path + ": " + why);
  }
  // Read in growing pieces: works on pipes as well, and never trusts a size that the file system tells.
  std::vector<uint8_t> bytes;
  constexpr size_t kChunk = size_t{1} << 20;
  for (;;) {
    const size_t at = bytes.size();
    if (at > limit) return invalid_argument(path + ": larger than the " + std::to_string(limit) + " bytes allowed");
    bytes.resize(at + kChunk);
    const size_t got = std::fread(bytes.data() + at, 1, kChunk, file.get());
    bytes.resize(at + got);
    if (got < kChunk) break;
  }
  if (std::ferror(file.get())) return io_error(path + ": " + std::strerror(errno));
  return bytes;
}

}  // namespace

Result<std::vector<uint8_t>> read_file(const std::string& path) {
  return read_limited(path, uint64_t{8} << 30);
}

Result<std::string> read_range(const std::string& path, uint64_t offset, uint64_t length) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return not_found(path + ": cannot be opened");
  const auto end = static_cast<int64_t>(file.tellg());
  const auto size = static_cast<uint64_t>(end < 0 ? 0 : end);
  if (offset > size || length > size - offset) {
    return invalid_model(path + ": expected " + std::to_string(length) + " bytes at " + std::to_string(offset) +
                         ", found " + std::to_string(size) + " bytes in all");
  }
  std::string bytes(static_cast<size_t>(length), '\0');
  file.seekg(static_cast<std::streamoff>(offset));
  file.read(&bytes[0], static_cast<std::streamsize>(length));
  if (!file) return io_error(path + ": cannot be read");
  return bytes;
}

Result<std::vector<std::string>> read_lines(const std::string& path) {
  Result<std::vector<uint8_t>> bytes = read_limited(path, uint64_t{4} << 20);
  if (!bytes.ok()) return bytes.status();
  std::vector<std::string> lines;
  std::string line;
  auto finish = [&lines, &line] {
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t' || line.back() == '\r')) line.pop_back();
    lines.push_back(std::move(line));
    line.clear();
  };
  for (uint8_t byte : *bytes) {
    if (byte == '\n') {
      finish();
    } else {
      line.push_back(static_cast<char>(byte));
    }
  }
  if (!line.empty()) finish();
  return lines;
}

std::string base_name(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

}  // namespace sparsenet::converter

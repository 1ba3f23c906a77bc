#include "data/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "io/text.h"

namespace sparsenet::io {

namespace fs = std::filesystem;

File::File(std::string path, int descriptor, uint64_t size)
    : path_(std::move(path)), descriptor_(descriptor), size_(size) {}

File::File(File&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<File> File::open(const std::string& path) {
  // Non-blocking, so that a named pipe is rejected below instead of waited for.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    const std::string message = path + ": cannot open: " + std::strerror(errno);
    if (errno == ENOENT || errno == ENOTDIR) return not_found(message);
    return io_error(message);
  }
  struct stat info {};
  if (::fstat(descriptor, &info) != 0) {
    const std::string message = path + ": cannot read its size: " + std::strerror(errno);
    ::close(descriptor);
    return io_error(message);
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(descriptor);
    return io_error(path + ": expected a regular file, found a " +
                    (S_ISDIR(info.st_mode) ? "directory" : "device or pipe"));
  }
  return File(path, descriptor, static_cast<uint64_t>(info.st_size));
}

Status File::read_at(uint64_t offset, void* out, size_t bytes) const {
  if (offset > size_ || bytes > size_ - offset) {
    return io_error(path_ + ": expected " + std::to_string(bytes) + " bytes at offset " + std::to_string(offset) +
                    ", found " + std::to_string(offset > size_ ? 0 : size_ - offset));
  }
  auto* cursor = static_cast<uint8_t*>(out);
  while (bytes > 0) {
    const ssize_t got = ::pread(descriptor_, cursor, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error(path_ + ": cannot read: " + std::strerror(errno));
    if (got == 0) return io_error(path_ + ": the file became shorter while it was read");
    cursor += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<size_t>(got);
  }
  return {};
}

Result<std::vector<uint8_t>> read_file(const std::string& path, uint64_t limit) {
  SPARSENET_ASSIGN_OR_RETURN(auto file, File::open(path));
  if (file.size() > limit) {
    return invalid_argument(path + ": expected at most " + std::to_string(limit) + " bytes, found " +
                            std::to_string(file.size()));
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(file.size()));
  SPARSENET_RETURN_IF_ERROR(file.read_at(0, bytes.data(), bytes.size()));
  return bytes;
}

std::string join_path(const std::string& directory, const std::string& name) {
  return (fs::path(directory) / name).string();
}

bool is_directory(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

namespace {

Result<fs::file_type> find(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::none) return io_error(path + ": cannot stat: " + error.message());
  return status.type();
}

}  // namespace

Result<bool> find_directory(const std::string& path) {
  SPARSENET_ASSIGN_OR_RETURN(auto found, find(path));
  return found == fs::file_type::directory;
}

Result<bool> find_file(const std::string& path) {
  SPARSENET_ASSIGN_OR_RETURN(auto found, find(path));
  return found == fs::file_type::regular;
}

bool is_file(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  std::error_code error;
  fs::directory_iterator entries(path, error);
  std::vector<std::string> names;
  while (!error && entries != fs::directory_iterator()) {
    std::string name = entries->path().filename().string();
    if (!name.empty() && name[0] != '.') names.push_back(std::move(name));
    entries.increment(error);
  }
  if (error) {
    const std::string message = path + ": cannot list the directory: " + error.message();
    if (error == std::errc::no_such_file_or_directory) return not_found(message);
    return io_error(message);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::vector<std::string>> read_lines(const std::string& path) {
  SPARSENET_ASSIGN_OR_RETURN(auto bytes, read_file(path, uint64_t{1} << 20));
  std::vector<std::string> lines = split_lines(bytes.data(), bytes.size());
  lines.erase(std::remove(lines.begin(), lines.end(), std::string()), lines.end());
  return lines;
}

}  // namespace sparsenet::io

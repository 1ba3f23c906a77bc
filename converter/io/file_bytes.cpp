#include "converter/io/file_bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <system_error>
#include <utility>

#include "converter/io/memory_budget.h"
#include "converter/report.h"
#include "io/text.h"

namespace sparsenet::converter {
namespace {

// Does not wait for a writer if the path turns out to be a named pipe.
constexpr int kOpenFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
constexpr uint64_t kMostBytes = uint64_t{1} << 40;

std::string why(int error) {
  return std::error_code(error, std::generic_category()).message();
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

const char* kind_of(mode_t mode) {
  return S_ISDIR(mode)    ? "a folder"
         : S_ISFIFO(mode) ? "a named pipe"
         : S_ISSOCK(mode) ? "a socket"
         : S_ISLNK(mode)  ? "a symbolic link"
                          : "a device";
}

// The status of an open file, which must be a regular one.
Result<struct stat> regular(int fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return io_error(path + ": " + why(errno));
  if (!S_ISREG(info.st_mode)) return io_error(path + ": expected a regular file, found " + kind_of(info.st_mode));
  if (static_cast<uint64_t>(info.st_size) > kMostBytes) return invalid_argument(path + ": is too large");
  return info;
}

Status read_at(int fd, uint64_t offset, uint8_t* to, size_t length, const std::string& path) {
  constexpr size_t kChunk = size_t{1} << 30;  // some systems reject single reads of 2 GiB and more
  while (length > 0) {
    const ssize_t got = ::pread(fd, to, std::min(length, kChunk), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error(path + ": " + why(errno));
    if (got == 0) return io_error(path + ": became shorter while it was read");
    to += got;
    offset += static_cast<uint64_t>(got);
    length -= static_cast<size_t>(got);
  }
  return {};
}

// Not a std::vector, which would first fill all of it with zeros.
struct Block {
  MemoryCharge charge;
  std::unique_ptr<uint8_t, void (*)(void*)> bytes{nullptr, std::free};
};

Result<FileBytes> read_part(int fd, uint64_t offset, uint64_t length, const std::string& path) {
  uint8_t* writable = nullptr;
  Result<FileBytes> bytes = make_bytes(length, &writable);
  if (!bytes.ok()) return bytes.status().with_context(path);
  SPARSENET_RETURN_IF_ERROR(read_at(fd, offset, writable, bytes->size, path));
  return bytes;
}

Result<Descriptor> open_path(const std::string& path) {
  Descriptor fd(::open(path.c_str(), kOpenFlags));
  if (fd.get() >= 0) return fd;
  const int error = errno;
  return error == ENOENT || error == ENOTDIR ? not_found(path + ": " + why(error)) : io_error(path + ": " + why(error));
}

// Opens the path component by component, so that renaming files meanwhile cannot redirect any of them.
Result<Descriptor> open_inside(const std::string& folder, const std::string& name) {
  const std::string shown = folder + "/" + printable(name);
  if (name.empty() || name[0] == '/' || name.find('\\') != std::string::npos || name.find('\0') != std::string::npos) {
    return invalid_model("'" + printable(name) + "' is not inside the model's folder");
  }
  Descriptor at(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (at.get() < 0) return io_error(folder + ": " + why(errno));
  size_t begin = 0;
  for (;;) {
    const size_t slash = name.find('/', begin);
    const std::string part = name.substr(begin, slash == std::string::npos ? slash : slash - begin);
    if (part == "..") return invalid_model("'" + printable(name) + "' is not inside the model's folder");
    const bool last = slash == std::string::npos;
    const int flags = last ? kOpenFlags | O_NOFOLLOW : O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
    struct stat info {};
    const char* const step = part.empty() ? "." : part.c_str();
    if (::fstatat(at.get(), step, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode)) {
      return invalid_model(shown + ": is a symbolic link, which is not followed: put the file itself beside the model");
    }
    Descriptor next(::openat(at.get(), step, flags));
    if (next.get() < 0) {
      const int error = errno;
      return error == ENOENT ? not_found(shown + ": " + why(error)) : io_error(shown + ": " + why(error));
    }
    at = std::move(next);
    if (last) return at;
    begin = slash + 1;
  }
}

}  // namespace

Result<FileBytes> make_bytes(uint64_t length, uint8_t** writable) {
  constexpr uint64_t kAlignment = 64;
  auto block = std::make_shared<Block>();
  SPARSENET_RETURN_IF_ERROR(block->charge.raise_to(length));
  if (length > std::numeric_limits<size_t>::max() / 2) return out_of_memory("too large for this machine");
  const auto rounded = static_cast<size_t>((length / kAlignment + 1) * kAlignment);
  block->bytes.reset(static_cast<uint8_t*>(std::aligned_alloc(kAlignment, rounded)));
  if (!block->bytes) return out_of_memory("no memory left for " + std::to_string(length) + " bytes");
  *writable = block->bytes.get();
  return FileBytes{block->bytes.get(), static_cast<size_t>(length), block};
}

Result<FileBytes> load_file(const std::string& path) {
  SPARSENET_ASSIGN_OR_RETURN(Descriptor fd, open_path(path));
  SPARSENET_ASSIGN_OR_RETURN(struct stat info, regular(fd.get(), path));
  const auto size = static_cast<uint64_t>(info.st_size);
  MemoryBudget::current()->add_file(info.st_dev, info.st_ino, size);
  return read_part(fd.get(), 0, size, path);
}

Result<FileBytes> load_beside(const std::string& folder, const std::string& name, uint64_t offset, uint64_t length) {
  SPARSENET_ASSIGN_OR_RETURN(Descriptor fd, open_inside(folder, name));
  const std::string path = folder + "/" + printable(name);
  SPARSENET_ASSIGN_OR_RETURN(struct stat info, regular(fd.get(), path));
  const auto size = static_cast<uint64_t>(info.st_size);
  if (offset > size || length > size - offset) {
    return invalid_model(path + ": expected " + std::to_string(length) + " bytes at " + std::to_string(offset) +
                         ", found " + std::to_string(size) + " bytes in all");
  }
  MemoryBudget::current()->add_file(info.st_dev, info.st_ino, size);
  return read_part(fd.get(), offset, length, path);
}

namespace {

Result<std::vector<uint8_t>> read_limited(const std::string& path, uint64_t limit) {
  SPARSENET_ASSIGN_OR_RETURN(Descriptor fd, open_path(path));
  SPARSENET_ASSIGN_OR_RETURN(struct stat info, regular(fd.get(), path));
  const auto size = static_cast<uint64_t>(info.st_size);
  if (size > limit) {
    return invalid_argument(path + ": expected at most " + std::to_string(limit) + " bytes, found " +
                            std::to_string(size));
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  SPARSENET_RETURN_IF_ERROR(read_at(fd.get(), 0, bytes.data(), bytes.size(), path));
  return bytes;
}

}  // namespace

Result<std::vector<uint8_t>> read_file(const std::string& path) {
  return read_limited(path, uint64_t{8} << 30);
}

Result<std::vector<std::string>> read_lines(const std::string& path) {
  SPARSENET_ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, read_limited(path, uint64_t{4} << 20));
  return io::split_lines(bytes.data(), bytes.size());
}

std::string base_name(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

}  // namespace sparsenet::converter

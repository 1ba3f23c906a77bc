#include "graph/files.h"

#include <fcntl.h>
#include <sparsenet/model.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <system_error>

#include "graph/guarded.h"

namespace sparsenet {
namespace {

Status system_failure(const std::string& path, const char* action, int error) {
  const std::string message =
      path + ": cannot " + action + ": " + std::error_code(error, std::generic_category()).message();
  return error == ENOENT ? not_found(message) : io_error(message);
}

// A file descriptor that is closed on every way out.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }
  int get() const { return fd_; }
  int close() {
    const int fd = fd_;
    fd_ = -1;
    return fd < 0 ? 0 : ::close(fd);
  }

 private:
  int fd_;
};

// A temporary file that does not outlive its scope unless it was renamed.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  void keep() { path_.clear(); }

 private:
  std::string path_;
};

Status write_all(int fd, const uint8_t* data, size_t size, const std::string& path) {
  constexpr size_t kChunk = size_t{1} << 30;  // some systems refuse single writes of 2 GiB and more
  while (size > 0) {
    const ssize_t written = ::write(fd, data, std::min(size, kChunk));
    if (written < 0) {
      if (errno == EINTR) continue;
      return system_failure(path, "write", errno);
    }
    data += written;
    size -= static_cast<size_t>(written);
  }
  return {};
}

// The name itself must survive a power cut too, so its directory is synced; file systems that cannot do that are not at
// fault, the file is whole in any case.
void sync_directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
  Descriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() >= 0) (void)::fsync(fd.get());
}

}  // namespace

namespace {

// Its size, if it is a regular file that is open.
Result<size_t> size_of_file(const Descriptor& fd, const std::string& path) {
  if (fd.get() < 0) return system_failure(path, "open", errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return system_failure(path, "stat", errno);
  if (!S_ISREG(info.st_mode)) {
    return io_error(path + ": expected a regular file, found " +
                    (S_ISDIR(info.st_mode) ? "a directory" : "a device or pipe"));
  }
  if (static_cast<uint64_t>(info.st_size) > std::numeric_limits<size_t>::max() / 2) {
    return io_error(path + ": " + std::to_string(info.st_size) + " bytes do not fit into this machine's memory");
  }
  return static_cast<size_t>(info.st_size);
}

// Not blocking: opening a named pipe must lead to an error, not to waiting for its writer.
int open_to_read(const std::string& path) {
  return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

struct Free {
  void operator()(const void* p) const { std::free(const_cast<void*>(p)); }
};

}  // namespace

Result<MappedFile> map_memory(const std::string& path) {
  const Descriptor fd(open_to_read(path));
  const Result<size_t> size = size_of_file(fd, path);
  if (!size.ok()) return size.status();
  MappedFile file;
  file.size = *size;
  if (file.size == 0) return file;
  void* address = ::mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (address == MAP_FAILED) return system_failure(path, "map", errno);
  file.data = static_cast<const uint8_t*>(address);
  return file;
}

Result<MappedFile> copy_file(const std::string& path) {
  const Descriptor fd(open_to_read(path));
  const Result<size_t> size = size_of_file(fd, path);
  if (!size.ok()) return size.status();
  MappedFile file;
  file.size = *size;
  if (file.size == 0) return file;
  constexpr size_t kAlignment = 64;
  std::unique_ptr<uint8_t, Free> bytes(
      static_cast<uint8_t*>(std::aligned_alloc(kAlignment, (file.size + kAlignment - 1) / kAlignment * kAlignment)));
  if (!bytes) return out_of_memory(path + ": no memory for its " + std::to_string(file.size) + " bytes");
  for (size_t done = 0; done < file.size;) {
    constexpr size_t kChunk = size_t{1} << 30;  // some systems refuse single reads of 2 GiB and more
    const ssize_t got = ::read(fd.get(), bytes.get() + done, std::min(file.size - done, kChunk));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_failure(path, "read", errno);
    if (got == 0) {
      return io_error(path + ": expected " + std::to_string(file.size) + " bytes, found " + std::to_string(done) +
                      ": it became shorter while it was read");
    }
    done += static_cast<size_t>(got);
  }
  file.data = bytes.get();
  file.owner = std::shared_ptr<const void>(std::move(bytes));
  return file;
}

Result<MappedFile> map_file(const std::string& path) {
  Result<MappedFile> file = map_memory(path);
  if (!file.ok() || !file->data) return file;
  const size_t size = file->size;
  file->owner =
      std::shared_ptr<const void>(file->data, [size](const void* p) { ::munmap(const_cast<void*>(p), size); });
  return file;
}

namespace {

Status write_atomically(const std::string& path, const void* data, size_t size) {
  // Through a symbolic link the file it points to is replaced, not the link.
  std::string target = path;
  if (char* resolved = ::realpath(path.c_str(), nullptr)) {
    target = resolved;
    std::free(resolved);
  }
  mode_t mode = 0666;
  struct stat info {};
  const bool exists = ::stat(target.c_str(), &info) == 0;
  if (exists) {
    // Renaming over a device such as /dev/null would destroy it.
    if (!S_ISREG(info.st_mode)) {
      return io_error(path + ": expected a regular file or none, found " +
                      (S_ISDIR(info.st_mode) ? "a directory" : "a device or pipe"));
    }
    mode = info.st_mode & 0777;
  }
  static std::atomic<unsigned> counter{0};
  const std::string temporary = target + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  Descriptor fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (fd.get() < 0) return system_failure(path, "create a file beside it", errno);
  TemporaryFile guard(temporary);
  if (exists) (void)::fchmod(fd.get(), mode);  // past the umask: the file had this mode
  SPARSENET_RETURN_IF_ERROR(write_all(fd.get(), static_cast<const uint8_t*>(data), size, path));
  if (::fsync(fd.get()) != 0 && errno != EINVAL && errno != ENOTSUP) return system_failure(path, "sync", errno);
  if (fd.close() != 0) return system_failure(path, "close", errno);
  if (::rename(temporary.c_str(), target.c_str()) != 0) return system_failure(path, "rename to", errno);
  guard.keep();
  sync_directory_of(target);
  return {};
}

}  // namespace

Status write_file_atomically(const std::string& path, const void* data, size_t size) {
  return guarded("writing a file", path, [&] { return write_atomically(path, data, size); });
}

}  // namespace sparsenet

#include "base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <memory>
#include <string>

#include "base/descriptor.h"

namespace sparsenet {
namespace {

// The size of an open regular file; an error if opening it has failed or if it is anything else.
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

// Non-blocking: opening a named pipe must lead to an error instead of waiting for a writer.
int open_to_read(const std::string& path) {
  return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

struct Unmap {
  MappedRange range;
  void operator()(const void*) const { ::munmap(const_cast<uint8_t*>(range.data), range.bytes); }
};

struct Free {
  void operator()(const void* p) const { std::free(const_cast<void*>(p)); }
};

}  // namespace

Result<MappedFile> map_memory(const std::string& path) {
  const Descriptor fd(open_to_read(path));
  SPARSENET_ASSIGN_OR_RETURN(const size_t size, size_of_file(fd, path));
  MappedFile file;
  file.size = size;
  if (file.size == 0) return file;
  void* address = ::mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (address == MAP_FAILED) return system_failure(path, "map", errno);
  file.data = static_cast<const uint8_t*>(address);
  return file;
}

Result<MappedFile> copy_file(const std::string& path) {
  const Descriptor fd(open_to_read(path));
  SPARSENET_ASSIGN_OR_RETURN(const size_t size, size_of_file(fd, path));
  MappedFile file;
  file.size = size;
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
  file->owner = std::shared_ptr<const void>(file->data, Unmap{{file->data, file->size}});
  return file;
}

MappedRange mapped_range(const std::shared_ptr<const void>& owner) {
  const auto* unmap = std::get_deleter<Unmap>(owner);
  return unmap ? unmap->range : MappedRange{};
}

void give_back_pages(const void* data, size_t bytes) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace sparsenet

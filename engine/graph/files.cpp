#include "graph/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <limits>
#include <string>

#include "graph/descriptor.h"

namespace sparsenet {

Result<MappedFile> map_memory(const std::string& path) {
  // Not blocking: opening a named pipe must lead to the error below, not to waiting for its writer.
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return system_failure(path, "open", errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return system_failure(path, "stat", errno);
  if (!S_ISREG(info.st_mode)) {
    return io_error(path + ": expected a regular file, found " +
                    (S_ISDIR(info.st_mode) ? "a directory" : "a device or pipe"));
  }
  MappedFile file;
  if (static_cast<uint64_t>(info.st_size) > std::numeric_limits<size_t>::max() / 2) {
    return io_error(path + ": " + std::to_string(info.st_size) + " bytes do not fit into this machine's memory");
  }
  file.size = static_cast<size_t>(info.st_size);
  if (file.size == 0) return file;
  void* address = ::mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (address == MAP_FAILED) return system_failure(path, "map", errno);
  file.data = static_cast<const uint8_t*>(address);
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

}  // namespace sparsenet

// The part of the C API that needs an operating system. It is in libsparsenet_device.a too, so it uses neither heap nor
// exceptions.
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/device_session.h"

using sparsenet::device::MessageWriter;

namespace {

sn_status failed(const char* path, const char* what, int error, sn_message* message) {
  MessageWriter(message) << path << ": cannot " << what << ": " << strerror(error);
  return error == ENOENT ? SN_NOT_FOUND : SN_IO;
}

sn_status map(int fd, const char* path, const void** data, size_t* bytes, sn_message* message) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return failed(path, "stat", errno, message);
  if (!S_ISREG(info.st_mode)) {
    MessageWriter(message) << path << ": expected a regular file, found "
                           << (S_ISDIR(info.st_mode) ? "a directory" : "a device or pipe");
    return SN_IO;
  }
  if (static_cast<uint64_t>(info.st_size) > SIZE_MAX / 2) {
    MessageWriter(message) << path << ": it does not fit into this machine's memory";
    return SN_IO;
  }
  *data = nullptr;
  *bytes = static_cast<size_t>(info.st_size);
  if (*bytes == 0) return SN_OK;
  void* address = ::mmap(nullptr, *bytes, PROT_READ, MAP_PRIVATE, fd, 0);
  if (address == MAP_FAILED) return failed(path, "map", errno, message);
  *data = address;
  return SN_OK;
}

}  // namespace

extern "C" {

sn_status sn_map_file(const char* path, const void** data, size_t* bytes, sn_message* message) {
  if (!path || !data || !bytes) return SN_INVALID_ARGUMENT;
  // Non-blocking: opening a named pipe must lead to an error instead of waiting for a writer.
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return failed(path, "open", errno, message);
  const sn_status status = map(fd, path, data, bytes, message);
  (void)::close(fd);
  return status;
}

void sn_unmap_file(const void* data, size_t bytes) {
  if (data) ::munmap(const_cast<void*>(data), bytes);
}

}  // extern "C"

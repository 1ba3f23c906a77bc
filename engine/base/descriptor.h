// An owned POSIX file descriptor, and the error for a failed system call, for the sources that read and write whole
// files.
#pragma once

#include <sparsenet/status.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace sparsenet {

// The error for a system call that failed, with the system's own description. The message begins with the path.
inline Status system_failure(const std::string& path, const char* action, int error) {
  const std::string message =
      path + ": cannot " + action + ": " + std::error_code(error, std::generic_category()).message();
  return error == ENOENT ? not_found(message) : io_error(message);
}

// A file descriptor that is closed when it goes out of scope, if not before.
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

}  // namespace sparsenet

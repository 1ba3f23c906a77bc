#include "program/program.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

namespace sparsenet::program {
namespace {

constexpr int kDone = 0, kFailed = 1;

std::atomic<const char*> activity{"working"};

// Opens closed standard streams in such a way that using them fails as before; only standard error discards what is
// written.
void open_standard_streams() {
  constexpr int kModes[] = {O_WRONLY, O_RDONLY, O_RDWR};
  for (int fd = 0; fd < 3; ++fd) {
    // open() returns the lowest free number, which is this one.
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF) (void)::open("/dev/null", kModes[fd]);
  }
}

// Prints the error that ends the program. Nothing here allocates.
void tell(const std::exception_ptr& error) {
  try {
    if (error) std::rethrow_exception(error);
    std::fprintf(stderr, "error: stopped by a fault of this program (while %s)\n", activity.load());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "error: out of memory while %s\n", activity.load());
  } catch (const std::exception& other) {
    std::fprintf(stderr, "error: %s (while %s)\n", other.what(), activity.load());
  } catch (...) {
    std::fprintf(stderr, "error: stopped by a fault of this program (while %s)\n", activity.load());
  }
}

// For exceptions that cannot propagate: in a thread of a library, or in a destructor (those of JSON documents
// allocate).
[[noreturn]] void end_at_once() {
  tell(std::current_exception());
  ::_exit(kFailed);
}

}  // namespace

void set_activity(const char* text) {
  activity = text;
}

int run(int argc, char** argv, int (*body)(int, char**)) {
  open_standard_streams();
  (void)std::signal(SIGXFSZ, SIG_IGN);
  std::set_terminate(end_at_once);
  int code = kFailed;
  try {
    code = body(argc, argv);
  } catch (...) {
    tell(std::current_exception());
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::fprintf(stderr, "error: cannot write to standard output\n");
    if (code == kDone) code = kFailed;
  }
  return code;
}

}  // namespace sparsenet::program

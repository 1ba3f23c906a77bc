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

std::atomic<const char*> activity{"working"};

// Opens what is closed in such a way that using it fails as it did before; standard error alone swallows what it gets.
void open_standard_streams() {
  constexpr int kModes[] = {O_WRONLY, O_RDONLY, O_RDWR};
  for (int fd = 0; fd < 3; ++fd) {
    // open() takes the lowest free number, which is this one.
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF) (void)::open("/dev/null", kModes[fd]);
  }
}

}  // namespace

void set_activity(const char* text) {
  activity = text;
}

int run(int argc, char** argv, int (*body)(int, char**)) {
  constexpr int kFailed = 1;
  open_standard_streams();
  (void)std::signal(SIGXFSZ, SIG_IGN);
  int code = kFailed;
  try {
    code = body(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "error: out of memory while %s\n", activity.load());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s (while %s)\n", error.what(), activity.load());
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::fprintf(stderr, "error: cannot write to standard output\n");
    if (code == 0) code = kFailed;
  }
  return code;
}

}  // namespace sparsenet::program

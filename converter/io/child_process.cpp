#include "converter/io/child_process.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <limits>
#include <system_error>

namespace sparsenet::converter {
namespace {

void set_limit(int resource, uint64_t most) {
  struct rlimit limit {};
  if (::getrlimit(resource, &limit) != 0) return;
  limit.rlim_cur = std::min<rlim_t>(static_cast<rlim_t>(most), limit.rlim_max);
  // Not fatal: the limits are a second line of defence behind the checks of sizes.
  (void)::setrlimit(resource, &limit);
}

// Bytes of address space in use, as the limit counts them; 0: unknown. (A sanitizer alone reserves terabytes.)
uint64_t address_space() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (!file) return 0;
  unsigned long long pages = 0;
  const bool read = std::fscanf(file, "%llu", &pages) == 1;
  std::fclose(file);
  return read ? pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

// Handlers of this process (those of a fuzzer, of a sanitizer) are not for the child: it just ends.
void restrict_child(const ChildLimits& limits, uint64_t used, int pipe) {
  for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGTRAP, SIGXCPU, SIGPIPE, SIGALRM}) {
    std::signal(number, SIG_DFL);
  }
  const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nowhere >= 0) {
    for (const int fd : {0, 1, 2}) {
      if (fd != pipe) ::dup2(nowhere, fd);  // a program that was started without these has the pipe there
    }
  }
  set_limit(RLIMIT_CORE, 0);
  set_limit(RLIMIT_CPU, std::max<uint64_t>(limits.seconds, 1));
  const uint64_t most = std::numeric_limits<int64_t>::max();
  if (used > 0 && used < most && limits.memory < most - used) set_limit(RLIMIT_AS, used + limits.memory);
}

// How a child ended that did not send everything.
Status early_end(int state) {
  if (WIFSIGNALED(state) && WTERMSIG(state) == SIGXCPU) {
    return invalid_model("reading it takes more time than a sound file needs");
  }
  if (WIFSIGNALED(state)) {
    return invalid_model("damaged: the library that reads it broke off (signal " + std::to_string(WTERMSIG(state)) +
                         ")");
  }
  return invalid_model("damaged: the library that reads it broke off");
}

}  // namespace

void ChildOutput::write(const void* bytes, size_t length) {
  constexpr size_t kMost = size_t{1} << 16;
  const auto* from = static_cast<const char*>(bytes);
  if (buffer_.size() + length <= kMost) {
    buffer_.append(from, length);
    return;
  }
  flush();
  while (length > 0) {
    const ssize_t done = ::write(fd_, from, length);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) ::_exit(1);  // nobody listens any more
    from += done;
    length -= static_cast<size_t>(done);
  }
}

void ChildOutput::flush() {
  const std::string pending = std::move(buffer_);
  buffer_.clear();
  size_t at = 0;
  while (at < pending.size()) {
    const ssize_t done = ::write(fd_, pending.data() + at, pending.size() - at);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) ::_exit(1);
    at += static_cast<size_t>(done);
  }
}

bool ChildInput::read(void* bytes, size_t length) {
  auto* to = static_cast<uint8_t*>(bytes);
  while (length > 0 && !ended_) {
    const ssize_t got = ::read(fd_, to, length);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      ended_ = true;
      break;
    }
    to += got;
    length -= static_cast<size_t>(got);
  }
  return length == 0;
}

Status run_in_child(const ChildLimits& limits, const std::function<void(ChildOutput*)>& work,
                    const std::function<Status(ChildInput*)>& receive) {
  int ends[2];
  const auto failed = [](const char* what) {
    return io_error(std::string(what) + ": " + std::error_code(errno, std::generic_category()).message());
  };
  if (::pipe2(ends, O_CLOEXEC) != 0) return failed("a pipe");
  const uint64_t used = address_space();
  const pid_t child = ::fork();
  if (child < 0) {
    const Status status = failed("a process of its own to read the file in");
    ::close(ends[0]);
    ::close(ends[1]);
    return status;
  }
  if (child == 0) {
    // Ends without running destructors or handlers that belong to the parent, also if an exception gets here.
    ::close(ends[0]);
    restrict_child(limits, used, ends[1]);
    try {
      ChildOutput output(ends[1]);
      work(&output);
      output.flush();
    } catch (...) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  ::close(ends[1]);
  // The child must not outlive this, also if `receive` throws.
  struct Reaper {
    pid_t child;
    int fd;
    int state = 0;
    bool done = false;
    void end(bool kill) {
      if (done) return;
      done = true;
      ::close(fd);
      if (kill) ::kill(child, SIGKILL);
      while (::waitpid(child, &state, 0) < 0 && errno == EINTR) {
      }
    }
    ~Reaper() { end(true); }
  } reaper{child, ends[0]};
  ChildInput input(ends[0]);
  Status status = receive(&input);
  reaper.end(!input.ended());
  return !status.ok() && input.ended() ? early_end(reaper.state) : status;
}

}  // namespace sparsenet::converter

#include "cli/interrupt.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

namespace sparsenet::cli {
namespace {

volatile std::sig_atomic_t stop_signal = 0;
bool output_can_close = false;  // standard output is a pipe or a socket

extern "C" void note_signal(int signal) {
  stop_signal = signal;
}

// The reader has closed the pipe; this can be detected without writing anything.
bool output_is_closed() {
  if (!output_can_close) return false;
  pollfd output{STDOUT_FILENO, 0, 0};
  return ::poll(&output, 1, 0) > 0 && (output.revents & (POLLERR | POLLHUP)) != 0;
}

}  // namespace

void watch_for_interrupts() {
  struct stat info {};
  output_can_close = ::fstat(STDOUT_FILENO, &info) == 0 && (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode));
  (void)std::signal(SIGPIPE, SIG_IGN);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    if (::sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    struct sigaction action {};
    action.sa_handler = note_signal;
    action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
    sigemptyset(&action.sa_mask);
    (void)::sigaction(signal, &action, nullptr);
  }
}

bool interrupted() {
  if (stop_signal == 0 && output_is_closed()) stop_signal = SIGPIPE;
  return stop_signal != 0;
}

std::string interrupt_name() {
  switch (stop_signal) {
    case SIGINT:
      return "SIGINT";
    case SIGTERM:
      return "SIGTERM";
    case SIGHUP:
      return "SIGHUP";
    default:
      return "standard output was closed";
  }
}

int interrupt_exit_code() {
  return 128 + stop_signal;
}

}  // namespace sparsenet::cli

#include "cli/progress.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <utility>

namespace sparsenet::cli {
namespace {

constexpr double kTerminalSeconds = 0.1, kPlainSeconds = 10;

std::string clock_text(double seconds) {
  const auto whole = std::llround(seconds);
  char text[48];
  if (whole >= 3600) {
    std::snprintf(text, sizeof text, "%lld:%02d:%02d", static_cast<long long>(whole / 3600),
                  static_cast<int>(whole / 60 % 60), static_cast<int>(whole % 60));
  } else {
    std::snprintf(text, sizeof text, "%d:%02d", static_cast<int>(whole / 60), static_cast<int>(whole % 60));
  }
  return text;
}

}  // namespace

Progress::Progress(std::string task, std::string unit, int64_t total)
    : task_(std::move(task)),
      unit_(std::move(unit)),
      total_(total),
      terminal_(isatty(STDERR_FILENO) == 1),
      next_seconds_(terminal_ ? kTerminalSeconds : kPlainSeconds) {}

Progress::~Progress() {
  if (line_open_) std::fprintf(stderr, "\r\033[K");
}

void Progress::update(int64_t done, const std::string& note) {
  const double seconds = watch_.seconds();
  if (seconds < next_seconds_ || done <= 0) return;
  next_seconds_ = seconds + (terminal_ ? kTerminalSeconds : kPlainSeconds);
  const double rate = static_cast<double>(done) / seconds;
  const double left = static_cast<double>(total_ - done) / rate;
  std::fprintf(stderr, "%s%s: %lld of %lld %s, %.1f %s/s, %s left%s%s%s", terminal_ ? "\r" : "", task_.c_str(),
               static_cast<long long>(done), static_cast<long long>(total_), unit_.c_str(), rate, unit_.c_str(),
               clock_text(left).c_str(), note.empty() ? "" : ", ", note.c_str(), terminal_ ? "\033[K" : "\n");
  std::fflush(stderr);
  line_open_ = terminal_;
}

}  // namespace sparsenet::cli

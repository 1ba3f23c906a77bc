#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "cli/output.h"

namespace sparsenet::cli {
namespace {

constexpr double kTerminalSeconds = 0.1;

// A line longer than the terminal's width would not be overwritten by the next one.
size_t terminal_columns() {
  struct winsize size {};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col : 80;
}

}  // namespace

StatusLine::StatusLine(double plain_seconds)
    : terminal_(isatty(STDERR_FILENO) == 1),
      plain_seconds_(plain_seconds),
      next_seconds_(terminal_ ? kTerminalSeconds : plain_seconds) {}

StatusLine::~StatusLine() {
  clear();
}

bool StatusLine::due() const {
  return watch_.seconds() >= next_seconds_;
}

void StatusLine::show(const std::string& text) {
  next_seconds_ = watch_.seconds() + (terminal_ ? kTerminalSeconds : plain_seconds_);
  if (terminal_) {
    std::fprintf(stderr, "\r%s\033[K", text.substr(0, terminal_columns() - 1).c_str());
  } else {
    std::fprintf(stderr, "%s\n", text.c_str());
  }
  std::fflush(stderr);
  open_ = terminal_;
}

void StatusLine::clear() {
  if (open_) std::fprintf(stderr, "\r\033[K");
  open_ = false;
}

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

std::string bar_text(double share, int width) {
  const auto columns = static_cast<size_t>(width);
  const double filled = std::clamp(share, 0.0, 1.0) * width;
  std::string bar(static_cast<size_t>(filled), '=');
  if (bar.size() < columns) bar += '>';
  bar.resize(columns, ' ');
  return "[" + bar + "]";
}

Progress::Progress(std::string task, std::string unit, int64_t total)
    : task_(std::move(task)), unit_(std::move(unit)), total_(total) {}

void Progress::update(int64_t done, const std::string& note) {
  if (done <= 0 || !line_.due()) return;
  const double rate = static_cast<double>(done) / std::max(watch_.seconds(), 1e-9);
  const double left = static_cast<double>(total_ - done) / rate;
  line_.show(task_ + ": " + std::to_string(done) + " of " + std::to_string(total_) + " " + unit_ + ", " +
             fixed(rate, 1) + " " + unit_ + "/s, " + clock_text(left) + " left" + (note.empty() ? "" : ", ") + note);
}

}  // namespace sparsenet::cli

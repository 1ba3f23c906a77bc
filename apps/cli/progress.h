// Progress of long work, on stderr: one line that is rewritten on a terminal, a plain line now and then elsewhere.
#pragma once

#include <cstdint>
#include <string>

#include "cli/statistics.h"

namespace sparsenet::cli {

// The line itself.
class StatusLine {
 public:
  // Elsewhere than on a terminal a line comes every `plain_seconds`.
  explicit StatusLine(double plain_seconds = 10);
  ~StatusLine();  // clear()
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  bool terminal() const { return terminal_; }
  // Whether enough time has passed to show something again.
  bool due() const;
  void show(const std::string& text);  // cut to the terminal's width
  void clear();                        // makes room for other output

 private:
  bool terminal_, open_ = false;
  double plain_seconds_;
  Stopwatch watch_;
  double next_seconds_;
};

std::string clock_text(double seconds);         // "1:02:03", "2:03"
std::string bar_text(double share, int width);  // "[=====>    ]"

// The usual text: how much is done, how fast, how long it will take still.
class Progress {
 public:
  // `unit` is what is counted, in the plural: "images".
  Progress(std::string task, std::string unit, int64_t total);

  // `note` is appended: the accuracy so far, say.
  void update(int64_t done, const std::string& note);

 private:
  std::string task_, unit_;
  int64_t total_;
  StatusLine line_;
  Stopwatch watch_;
};

}  // namespace sparsenet::cli

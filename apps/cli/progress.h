// Progress of long work, on stderr: one line that is rewritten if stderr is a terminal, else an occasional plain line.
#pragma once

#include <cstdint>
#include <string>

#include "cli/statistics.h"

namespace sparsenet::cli {

// Writes the line itself.
class StatusLine {
 public:
  // If stderr is not a terminal, a line is written every `plain_seconds`.
  explicit StatusLine(double plain_seconds = 10);
  ~StatusLine();  // clear()
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  bool terminal() const { return terminal_; }
  // Whether enough time has passed to show something again.
  bool due() const;
  void show(const std::string& text);  // cut to the terminal's width
  void clear();                        // clears the line, before other output

 private:
  bool terminal_, open_ = false;
  double plain_seconds_;
  Stopwatch watch_;
  double next_seconds_;
};

std::string clock_text(double seconds);         // "1:02:03", "2:03"
std::string bar_text(double share, int width);  // "[=====>    ]"

// The usual text: how much is done, how fast, and how long the rest will take.
class Progress {
 public:
  // `unit` names what is counted, in the plural: "images".
  Progress(std::string task, std::string unit, int64_t total);

  // `note` is appended, for example the accuracy so far.
  void update(int64_t done, const std::string& note);

 private:
  std::string task_, unit_;
  int64_t total_;
  StatusLine line_;
  Stopwatch watch_;
};

}  // namespace sparsenet::cli

// Progress of long work, on stderr: one line that is rewritten on a terminal, a plain line now and then elsewhere.
#pragma once

#include <cstdint>
#include <string>

#include "cli/statistics.h"

namespace sparsenet::cli {

class Progress {
 public:
  // `unit` is what is counted, in the plural: "images".
  Progress(std::string task, std::string unit, int64_t total);
  ~Progress();  // ends the line on a terminal
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `note` is appended: the accuracy so far, say.
  void update(int64_t done, const std::string& note);

 private:
  std::string task_, unit_;
  int64_t total_;
  bool terminal_;
  bool line_open_ = false;
  Stopwatch watch_;
  double next_seconds_;
};

}  // namespace sparsenet::cli

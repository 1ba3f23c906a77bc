// What a training prints and writes: lines, progress, the CSV log, the plot, JSON.
#pragma once

#include <sparsenet/train_tools.h>
#include <sparsenet/trainer.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/output.h"
#include "cli/progress.h"
#include "cli/train_options.h"

namespace sparsenet::cli {

struct TrainFigures {
  TrainMemory memory;
  size_t start_rss = 0;
  std::string data;  // what was trained on, as a JSON document
};

class TrainReport {
 public:
  TrainReport(const TrainCommand& command, std::string model_name, int64_t steps_per_epoch);
  ~TrainReport();
  TrainReport(const TrainReport&) = delete;
  TrainReport& operator=(const TrainReport&) = delete;

  // Writes log and plot with the epochs done so far; the log then grows by a line per epoch. An error here ends the
  // training before it begins; later ones are only warnings, because the training is worth more than its log.
  Status open(const Checkpoint& checkpoint);

  void line(const std::string& text);     // on stdout, with --json on stderr
  void warning(const std::string& text);  // on stderr
  void memory(const TrainMemory& memory, int threads, int64_t batch);
  void step(const Checkpoint& now, double rate);
  void epoch(const Checkpoint& now);
  void end() { status_.clear(); }
  void print(const Checkpoint& last, const TrainFigures& figures);  // the result

 private:
  std::string draw(const Checkpoint& now) const;

  const TrainCommand& command_;
  std::string model_name_;
  int64_t steps_per_epoch_;
  int64_t first_step_ = 0;  // of this run
  std::FILE* log_ = nullptr;
  StatusLine status_;
  Stopwatch watch_;
};

// One epoch as JSON and as text; `number` counts from 1.
Json epoch_json(const EpochRecord& record, int64_t number);

}  // namespace sparsenet::cli

// The training itself: steps, epochs, checkpoints. It ends early, after the current step, if interrupted()
// (cli/interrupt.h) returns true.
#pragma once

#include <sparsenet/train_tools.h>
#include <sparsenet/trainer.h>

#include <string>
#include <vector>

#include "cli/train_data.h"
#include "cli/train_options.h"
#include "cli/train_report.h"

namespace sparsenet::cli {

class TrainLoop {
 public:
  // All arguments must outlive the loop; `test` may be null. `progress` is the starting point and is updated.
  TrainLoop(const TrainCommand& command, Trainer& trainer, const TrainData& train, const TrainData* test,
            Checkpoint& progress, TrainReport& report);

  // Runs to the end of the last epoch and writes a checkpoint after it. On an error the last good checkpoint stays in
  // place. An interruption is an error too; was_interrupted() then says that everything has been saved.
  Status run();
  bool was_interrupted() const { return interrupted_; }

 private:
  Status run_epoch();
  Status step(int64_t epoch, int64_t in_epoch);
  Status fill_batch(int64_t epoch, int64_t in_epoch);
  Status end_epoch();
  Status save();
  Status stopped();
  std::string last_good() const;

  const TrainCommand& command_;
  Trainer& trainer_;
  const TrainData& train_;
  const TrainData* test_;
  Checkpoint& progress_;
  TrainReport& report_;
  int64_t steps_per_epoch_;
  LearningRate rate_;
  std::vector<uint32_t> order_;  // empty: the order of the data
  std::vector<float> images_, image_;
  std::vector<int32_t> labels_;
  bool interrupted_ = false;
  int64_t saved_step_ = -1;  // step that the checkpoint file holds; negative: the file holds nothing of this training
};

// The share of `data` that the network gets wrong, measured in memory that the trainer does not use at the moment. An
// interruption ends it early, with some error value.
Result<double> share_of_errors(Trainer& trainer, const TrainData& data, int threads);

// Checks that all constants of the graph are finite; kNotFinite names the first tensor that is not.
Status check_finite(const Graph& graph);

}  // namespace sparsenet::cli

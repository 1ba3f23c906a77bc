// The training itself: steps, epochs, checkpoints. It ends early, after the step that is under way, where interrupted()
// (cli/interrupt.h) says so.
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
  // All of them must outlive the loop; `test` may be null. `progress` is where it begins and what it carries on.
  TrainLoop(const TrainCommand& command, Trainer& trainer, const TrainData& train, const TrainData* test,
            Checkpoint& progress, TrainReport& report);

  // To the end of the last epoch, with a checkpoint behind it. An error leaves the last good checkpoint in place;
  // so does an interruption, which is one too: was_interrupted() then says that all is saved.
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
  std::vector<uint32_t> order_;  // empty: as the data stands
  std::vector<float> images_, image_;
  std::vector<int32_t> labels_;
  bool interrupted_ = false;
  int64_t saved_step_ = -1;  // what the checkpoint file holds; negative: nothing of this training
};

// The share of `data` that the network gets wrong, measured in memory that the trainer leaves idle. An interruption
// ends it early, with some error.
Result<double> share_of_errors(Trainer& trainer, const TrainData& data, int threads);

// Whether all constants of the graph are finite; kNotFinite names the first tensor that is not.
Status check_finite(const Graph& graph);

}  // namespace sparsenet::cli

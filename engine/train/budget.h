// The program of a training: forward, backward and update, planned for a micro-batch that fits a budget of memory.
#pragma once

#include <sparsenet/trainer.h>

#include <vector>

#include "session/bound_plan.h"
#include "train/recompute.h"
#include "train/training_graph.h"

namespace sparsenet {

struct TrainingProgram {
  TrainingGraph training;
  Plan plan;
  std::vector<RecomputeChoice> choices;
  size_t recomputed = 0;  // the first so many of the choices
  PlanCost cost;
  int64_t micro_batches = 1;  // a batch is cut into

  // What a budget counts: arena, packed weights and scratch.
  uint64_t bytes(int threads) const;
};

struct ProgramRequest {
  const Graph& source;  // batch 1
  const TrainOptions& options;
  const std::vector<bool>&trained, &decayed;  // by value of `source`
};

// The program with the largest micro-batches and the least recomputed that fits options.memory_budget; without a budget
// the whole batch at once. Lowers bind->threads to what has room. kInvalidArgument names the smallest budget that would
// do; kUnsupported and kOutOfMemory name a node.
Result<TrainingProgram> fit_program(const ProgramRequest& request, BindOptions* bind);

}  // namespace sparsenet

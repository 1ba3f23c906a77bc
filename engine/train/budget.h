// The program of a training: forward pass, backward pass and update, planned for a micro-batch that fits a memory
// budget.
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
  size_t recomputed = 0;  // how many of the choices, from the first on, are recomputed
  PlanCost cost;
  int64_t micro_batches = 1;  // how many of them a batch is divided into

  // The bytes that count towards a budget: arena, packed weights and scratch.
  uint64_t bytes(int threads) const;
};

struct ProgramRequest {
  const Graph& source;  // batch 1
  const TrainOptions& options;
  const std::vector<bool>&trained, &decayed;  // by value of `source`
  bool fixed_statistics;                      // as in BackwardOptions
};

// Makes the program that fits options.memory_budget with the largest micro-batches and, for these, the least
// recomputing; without a budget, the whole batch is one micro-batch. Lowers bind->threads to the number that there is
// room for. kInvalidArgument names the smallest budget that would be enough; kUnsupported and kOutOfMemory name a node.
Result<TrainingProgram> fit_program(const ProgramRequest& request, BindOptions* bind);

}  // namespace sparsenet

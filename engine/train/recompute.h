// Recompute: a pass that trades time for memory. Activations that the backward pass needs are not kept, but
// computed a second time, right before they are needed, by the same steps from the same inputs: not a bit of the result
// changes.
#pragma once

#include <vector>

#include "train/training_graph.h"

namespace sparsenet {

struct RecomputeChoice {
  size_t node;   // of the forward part
  int64_t cost;  // multiply-accumulates, or elements if these are more
  int64_t bytes;
};

// What may be recomputed, in the order of bytes saved per unit of cost, the highest first.
std::vector<RecomputeChoice> recompute_choices(const TrainingGraph& training);

// Recomputes the first `count` choices.
void recompute(TrainingGraph* training, const std::vector<RecomputeChoice>& choices, size_t count);

}  // namespace sparsenet

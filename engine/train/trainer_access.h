// TrainerAccess: ways to make trainers that are only for the engine itself.
#pragma once

#include <sparsenet/trainer.h>

namespace sparsenet {

struct TrainerAccess {
  // Makes a trainer that leaves frozen float16 constants as they are. It then computes the same as a stored training
  // plan of the graph, in which everything that is folded from them is rounded. (Trainer::create() widens them first.)
  static Result<Trainer> create(Graph graph, const TrainOptions& options);
};

}  // namespace sparsenet

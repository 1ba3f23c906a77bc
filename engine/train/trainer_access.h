// What the engine itself may do with trainers.
#pragma once

#include <sparsenet/trainer.h>

namespace sparsenet {

struct TrainerAccess {
  // A trainer that leaves frozen float16 constants as they are: it then computes what a stored training plan of the
  // graph computes, in which all that is folded from them is rounded. (Trainer::create() widens them first.)
  static Result<Trainer> create(Graph graph, const TrainOptions& options);
};

}  // namespace sparsenet

// TrainingGraph: a graph with its gradients and the updates of its parameters, ready to be lowered like any other.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/trainer.h>

#include <string>
#include <vector>

#include "plan/plan.h"

namespace sparsenet {

// What stays in memory from step to step. Each region is one range of floats; tensors lie in it one after the other,
// each on a 64-byte boundary, and the gaps are zero.
enum Region : int {
  kParameterRegion = 0,
  kGradientRegion,     // of the last micro-batch, at the parameters' offsets
  kAccumulatedRegion,  // sum of gradients over micro-batches; empty if there is only one per update
  kMoment1Region,      // momentum, or Adam's first moment
  kMoment2Region,
  kRunningRegion,  // running statistics
  kControlRegion,  // rt::Control
  kRoundedRegion,  // weights of layers whose integers are simulated, rounded anew in every step
  kRegionCount
};

// Indices into TrainingGraph::phase_begins; the forward and backward passes come before the first of these phases.
enum TrainingPhase : size_t { kRunningPhase = 0, kAccumulatePhase, kNormPhase, kUpdatePhase };

struct TrainingGraph {
  Graph graph;
  Persistence persistence;
  std::vector<ValueId> trained;  // parameters, as ids of the source graph: first those that are decayed
  std::vector<ValueId> moving;   // running statistics that training updates
  int64_t decayed_floats = 0;    // so many floats at the start of the parameter region are decayed
  size_t backward_begin = 0;     // node index
  ValueId logits = kNoValue;
  std::vector<size_t> phase_begins;  // node indices: running statistics; accumulate; norm; update
};

struct BackwardOptions {
  std::vector<bool> trained;  // by value of the source graph: a constant that is trained
  std::vector<bool> decayed;
  Optimizer optimizer = Optimizer::kSgd;
  float label_smoothing = 0;
  bool accumulate = false;  // more than one micro-batch per update
  // BatchNorms use their running statistics and leave them unchanged, also where their scale and shift are trained.
  bool fixed_statistics = false;
};

// The pass that makes a training graph of a forward graph. `source` must have its batch set and its shapes inferred.
// Errors: kUnsupported (names a node whose gradient is needed but unknown), kInvalidArgument (nothing to train).
Result<TrainingGraph> build_backward(const Graph& source, const BackwardOptions& options);

}  // namespace sparsenet

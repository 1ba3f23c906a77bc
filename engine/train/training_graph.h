// TrainingGraph: a graph with its gradients and the updates of its parameters, ready to be lowered like any other.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/trainer.h>

#include <string>
#include <vector>

#include "plan/plan.h"

namespace sparsenet {

// What stays in memory from step to step. Each region is one piece of floats; tensors lie in it one after the other,
// each on a 64-byte boundary, the gaps zero.
enum Region : int {
  kParameterRegion = 0,
  kGradientRegion,     // of the last micro-batch, at the parameters' offsets
  kAccumulatedRegion,  // sum of gradients over micro-batches; empty where there is only one
  kMoment1Region,      // momentum, or Adam's first moment
  kMoment2Region,
  kRunningRegion,  // running statistics
  kControlRegion,  // rt::Control
  kRegionCount
};

// Indices into TrainingGraph::phase_begins; forward and backward come first.
enum TrainingPhase : size_t { kRunningPhase = 0, kAccumulatePhase, kNormPhase, kUpdatePhase };

struct TrainingGraph {
  Graph graph;
  Persistence persistence;
  std::vector<ValueId> trained;  // parameters, in the order of the graph's values; ids of the source graph
  std::vector<ValueId> moving;   // running statistics that move
  int64_t decayed_floats = 0;    // the parameters that are decayed come first
  size_t backward_begin = 0;     // node index
  ValueId logits = kNoValue;
  std::vector<size_t> phase_begins;  // node indices: forward and backward; running statistics; accumulate; norm; update
};

struct BackwardOptions {
  std::vector<bool> trained;  // by value of the source graph: a constant that is trained
  std::vector<bool> decayed;
  Optimizer optimizer = Optimizer::kSgd;
  float label_smoothing = 0;
  bool accumulate = false;  // more than one micro-batch an update
};

// The pass from a forward graph to training. `source` has its batch set and its shapes inferred. Errors: kUnsupported
// names a node whose gradient is needed and unknown; kInvalidArgument: nothing to train.
Result<TrainingGraph> build_backward(const Graph& source, const BackwardOptions& options);

}  // namespace sparsenet

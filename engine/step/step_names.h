// Names of the kinds of steps, for messages and profiles.
#pragma once

#include "step/step.h"

namespace sparsenet {

// In the order of rt::StepOp.
inline constexpr const char* kStepNames[] = {
    "Conv",           "Pool",           "GlobalPool",
    "Affine",         "Activation",     "Binary",
    "Softmax",        "ReduceMean",     "Copy",
    "Attention",      "BatchStats",     "FoldStats",
    "UpdateRunning",  "NormalizeGrad",  "FoldStatsGrad",
    "BatchStatsGrad", "ConvGradWeight", "ConvGradInput",
    "ActivationGrad", "MaxPoolGrad",    "AveragePoolGrad",
    "SoftmaxGrad",    "ReduceSum",      "Expand",
    "ExpandPixels",   "DotPixels",      "ScalePixels",
    "Fill",           "Accumulate",     "CrossEntropy",
    "SquareSum",      "UpdateSgd",      "UpdateAdam",
};

inline const char* step_name(rt::StepOp op) {
  static_assert(sizeof(kStepNames) / sizeof(kStepNames[0]) == static_cast<size_t>(rt::StepOp::kUpdateAdam) + 1);
  return kStepNames[static_cast<size_t>(op)];
}

}  // namespace sparsenet

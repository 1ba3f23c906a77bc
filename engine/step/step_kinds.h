// The table of the kinds of steps: what messages call them, whether stored plans may hold them, and how they are
// checked. A new kind needs a number in step.h and a row here.
#pragma once

#include "step/step.h"

namespace sparsenet::rt {

// What a step works on. kInOut: its views in, in2 and out; kOperands: its list of operands; kBoth: all of these.
enum class StepData : uint8_t { kInOut, kOperands, kBoth };

// clang-format off
// In the order of StepOp. `stored`: plans in files may hold such steps; `trains`: only plans that train have them;
// `check`: a function of step_checks.h, which is check_nothing for steps that are never stored.
//     op                name               stored trains data       check
#define SPARSENET_DEVICE_STEP_KINDS(KIND)                                                        \
  KIND(kConv,            "Conv",            true,  false, kInOut,    check_conv)                 \
  KIND(kPool,            "Pool",            true,  false, kInOut,    check_pool)                 \
  KIND(kGlobalPool,      "GlobalPool",      true,  false, kInOut,    check_global_pool)          \
  KIND(kAffine,          "Affine",          true,  false, kInOut,    check_same_size)            \
  KIND(kUnary,           "Activation",      true,  false, kInOut,    check_same_size)            \
  KIND(kBinary,          "Binary",          true,  false, kInOut,    check_binary)               \
  KIND(kSoftmax,         "Softmax",         true,  false, kInOut,    check_strided)              \
  KIND(kReduceMean,      "ReduceMean",      true,  false, kInOut,    check_reduced)              \
  KIND(kStridedCopy,     "Copy",            true,  false, kInOut,    check_strided)              \
  KIND(kAttention,       "Attention",       true,  false, kInOut,    check_attention)            \
  KIND(kBatchStats,      "BatchStats",      false, true,  kOperands, check_nothing)              \
  KIND(kFoldStats,       "FoldStats",       false, true,  kOperands, check_nothing)              \
  KIND(kUpdateRunning,   "UpdateRunning",   false, true,  kOperands, check_nothing)              \
  KIND(kNormalizeGrad,   "NormalizeGrad",   false, true,  kOperands, check_nothing)              \
  KIND(kFoldStatsGrad,   "FoldStatsGrad",   false, true,  kOperands, check_nothing)              \
  KIND(kBatchStatsGrad,  "BatchStatsGrad",  false, true,  kOperands, check_nothing)              \
  KIND(kConvGradWeight,  "ConvGradWeight",  true,  true,  kBoth,     check_conv_grad_weight)     \
  KIND(kConvGradInput,   "ConvGradInput",   false, true,  kInOut,    check_nothing)              \
  KIND(kActivationGrad,  "ActivationGrad",  false, true,  kOperands, check_nothing)              \
  KIND(kMaxPoolGrad,     "MaxPoolGrad",     false, true,  kOperands, check_nothing)              \
  KIND(kAveragePoolGrad, "AveragePoolGrad", false, true,  kOperands, check_nothing)              \
  KIND(kSoftmaxGrad,     "SoftmaxGrad",     false, true,  kInOut,    check_nothing)              \
  KIND(kReduceSum,       "ReduceSum",       false, true,  kInOut,    check_nothing)              \
  KIND(kExpand,          "Expand",          false, true,  kInOut,    check_nothing)              \
  KIND(kExpandPixels,    "ExpandPixels",    false, true,  kOperands, check_nothing)              \
  KIND(kDotPixels,       "DotPixels",       false, true,  kOperands, check_nothing)              \
  KIND(kScalePixels,     "ScalePixels",     false, true,  kOperands, check_nothing)              \
  KIND(kFill,            "Fill",            false, true,  kOperands, check_nothing)              \
  KIND(kAccumulate,      "Accumulate",      true,  true,  kOperands, check_accumulate)           \
  KIND(kCrossEntropy,    "CrossEntropy",    true,  true,  kOperands, check_cross_entropy)        \
  KIND(kSquareSum,       "SquareSum",       true,  true,  kOperands, check_square_sum)           \
  KIND(kUpdateSgd,       "UpdateSgd",       true,  true,  kOperands, check_update_sgd)           \
  KIND(kUpdateAdam,      "UpdateAdam",      false, true,  kOperands, check_nothing)              \
  KIND(kMatMul,          "MatMul",          true,  false, kInOut,    check_mat_mul)              \
  KIND(kLayerNorm,       "LayerNorm",       true,  false, kInOut,    check_layer_norm)           \
  KIND(kQuantize,        "Quantize",        true,  false, kInOut,    check_between_types)        \
  KIND(kDequantize,      "Dequantize",      true,  false, kInOut,    check_between_types)
// Those behind the last one that a stored plan may hold, of which devices need not know.
#define SPARSENET_STEP_KINDS(KIND)                                                               \
  SPARSENET_DEVICE_STEP_KINDS(KIND)                                                              \
  KIND(kFakeQuantize,    "FakeQuantize",    false, true,  kInOut,    check_nothing)              \
  KIND(kRoundWeight,     "RoundWeight",     false, true,  kOperands, check_nothing)
// clang-format on

#define SPARSENET_STEP_OP(op, name, stored, trains, data, check) StepOp::op,
inline constexpr StepOp kStepOps[] = {SPARSENET_STEP_KINDS(SPARSENET_STEP_OP)};
#undef SPARSENET_STEP_OP
inline constexpr size_t kStepKinds = sizeof kStepOps / sizeof kStepOps[0];

constexpr bool rows_stand_in_order() {
  for (size_t i = 0; i < kStepKinds; ++i) {
    if (static_cast<size_t>(kStepOps[i]) != i) return false;
  }
  return true;
}
static_assert(rows_stand_in_order(), "a row of SPARSENET_STEP_KINDS is not where its number in StepOp says");

// The kinds from this number on are none that a stored plan may hold.
#define SPARSENET_COUNT_KIND(op, name, stored, trains, data, check) +1
inline constexpr size_t kDeviceStepKinds = 0 SPARSENET_DEVICE_STEP_KINDS(SPARSENET_COUNT_KIND);
#undef SPARSENET_COUNT_KIND

// Whether stored plans may hold such steps, and whether only plans that train have them; of kinds below
// kDeviceStepKinds.
bool may_be_stored(StepOp op);
bool trains(StepOp op);

inline const char* step_name(StepOp op) {
#define SPARSENET_STEP_NAME(op, name, stored, trains, data, check) name,
  constexpr const char* kNames[] = {SPARSENET_STEP_KINDS(SPARSENET_STEP_NAME)};
#undef SPARSENET_STEP_NAME
  return kNames[static_cast<size_t>(op)];
}

}  // namespace sparsenet::rt

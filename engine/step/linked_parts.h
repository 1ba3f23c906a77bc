// Parts of the runtime that only some models need: the checks of each kind of step, computing with integers, and
// training. The library's definitions of linked_check() (step/linked_checks.cpp), linked_integers() and
// linked_training() (device/linked_parts.cpp) have all of it. A table written by `sparsenet-convert --select-ops`
// replaces them, and leaves out what its model has no use for (session/make_device_parts.cpp).
#pragma once

#include "step/step_check.h"
#include "step/training_layout.h"

struct sn_session;

namespace sparsenet::schema {
struct PlanStep;
struct TestVector;
}  // namespace sparsenet::schema

namespace sparsenet::device {
struct Port;
}

namespace sparsenet::rt {

struct PlanFile;

struct IntegerParts {
  // See format/stored/stored_quant.h.
  const char* (*read)(const schema::PlanStep& from, QuantParams* const* memory, Step* step);
  // See step/quant_check.h.
  const char* (*check)(const Step& step, const PlanRoom& room);
  // See device/device_session.h; null where no float32 input becomes integers, so that no vector holds them.
  bool (*set_input)(sn_session* session, const schema::TestVector& vector, device::Port* port);
};

struct TrainingParts {
  // Reads and checks the part of a plan that is about training, and all initial parameters.
  const char* (*read)(const PlanFile& file, TrainingLayout* training);
  // Begins the training of a prepared session anew.
  void (*restart)(sn_session* session);
};

// The check of a kind of step; null where no linked kernel runs such steps.
using StepCheck = const char* (*)(const Step& step, const StepLinks& links, const PlanRoom& room);
StepCheck linked_check(StepOp op);

// Null where the part is not linked into the program.
const IntegerParts* linked_integers();
const TrainingParts* linked_training();

inline constexpr char kNoIntegers[] = "it computes with integers, which are not linked";
inline constexpr char kNoTraining[] = "training is not linked";
extern const char kNoLinkedKernel[];

}  // namespace sparsenet::rt

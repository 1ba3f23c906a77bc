#include "step/step_check.h"

#include "step/linked_activation.h"
#include "step/linked_parts.h"
#include "step/step_checks.h"
#include "step/step_kinds.h"
#include "step/view_check.h"

namespace sparsenet::rt {

const float kUnplaced = 0;
const char kNoLinkedKernel[] = "no linked kernel serves for it";

namespace {

constexpr char kNotStored[] = "a kind of step that plans cannot hold";

const char* check_pre(const Step& s, const PlanRoom& room) {
  if (!s.affine.scale && !s.affine.shift) return nullptr;
  const bool taken = s.op == StepOp::kConv || s.op == StepOp::kPool || s.op == StepOp::kGlobalPool ||
                     s.op == StepOp::kAffine || s.op == StepOp::kLayerNorm || s.op == StepOp::kConvGradWeight;
  if (!taken) return "this kind of step takes no scale and shift";
  if (!readable(s.affine.scale, s.in.c, room) || !readable(s.affine.shift, s.in.c, room)) {
    return "scale and shift: expected both, with a value for each channel";
  }
  return nullptr;
}

// Integers are for steps that say how they compute with them.
const char* check_real(const Step& step) {
  const bool real = step.in.type == DataType::kFloat32 && step.out.type == DataType::kFloat32 &&
                    (step.in2.segment_count == 0 || step.in2.type == DataType::kFloat32);
  return real ? nullptr : "expected float32, or how to compute with integers";
}

struct StepKind {
  bool stored, trains;
  StepData data;
};
#define SPARSENET_STEP_ROW(op, name, stored, trains, data, check) {stored, trains, StepData::data},
constexpr StepKind kSteps[] = {SPARSENET_DEVICE_STEP_KINDS(SPARSENET_STEP_ROW)};
static_assert(sizeof kSteps / sizeof kSteps[0] == kDeviceStepKinds);
#undef SPARSENET_STEP_ROW

const StepKind& kind_of(StepOp op) {
  return kSteps[static_cast<size_t>(op)];
}

}  // namespace

bool may_be_stored(StepOp op) {
  return kind_of(op).stored;
}

bool trains(StepOp op) {
  return kind_of(op).trains;
}

const char* check_step(const Step& step, const StepLinks& links, const PlanRoom& room) {
  if (!step.name) return "it has no name";
  if (static_cast<size_t>(step.op) >= kDeviceStepKinds) return kNotStored;
  const StepKind& kind = kind_of(step.op);
  const StepCheck check = linked_check(step.op);
  if (!check) return kNoLinkedKernel;
  if (!kind.stored || step.conv.transposed || step.train.accumulate) return kNotStored;
  if (step.conv.variable && step.op != StepOp::kConv) return "this kind of step has no parameters that change";
  for (int32_t i = 0; i < step.train.operand_count; ++i) {
    if (const char* message = check_view(step.train.operands[i], room, true)) return message;
  }
  if (!is_linked(step.act)) return kNotLinked;
  if (step.op != StepOp::kConv && (step.conv.weight || step.conv.bias)) return "this kind of step has no weights";
  for (int32_t i = 0; i < 8; ++i) {
    const bool taken = step.op == StepOp::kAttention && (step.attention.hidden == 0 || i < 4);
    if (step.attention.params[i] && !taken) return "parameters of attention that the step does not take";
  }
  if (kind.data == StepData::kOperands) {
    const bool operands_alone = step.in.segment_count == 0 && step.in2.segment_count == 0 &&
                                step.out.segment_count == 0 && !step.strided && !step.affine.scale &&
                                !step.affine.shift;
    return operands_alone ? check(step, links, room) : "this kind of step has operands alone";
  }
  if (step.train.operand_count > 0 && kind.data != StepData::kBoth) return "this kind of step has no operands";
  if (const char* message = check_view(step.in, room, false)) return message;
  if (step.in2.segment_count != 0) {
    if (const char* message = check_view(step.in2, room, false)) return message;
  }
  if (const char* message = check_view(step.out, room, true)) return message;
  if (step.out.segment_count != 1) return "expected an output in one piece";
  if (const char* message = check_pre(step, room)) return message;
  if (const char* message = check(step, links, room)) return message;
  if (!step.quant) return check_real(step);
  const IntegerParts* integers = linked_integers();
  return integers ? integers->check(step, room) : kNoIntegers;
}

}  // namespace sparsenet::rt

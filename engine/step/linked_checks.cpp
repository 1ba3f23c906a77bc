// The checks of all kinds of steps, for programs that bring no table of their own. They are in a file of their own so
// that such a table can take its place.
#include "step/linked_parts.h"
#include "step/step_checks.h"
#include "step/step_kinds.h"

namespace sparsenet::rt {

StepCheck linked_check(StepOp op) {
#define SPARSENET_CHECK(op, name, stored, trains, data, check) check,
  static constexpr StepCheck kChecks[] = {SPARSENET_DEVICE_STEP_KINDS(SPARSENET_CHECK)};
#undef SPARSENET_CHECK
  return kChecks[static_cast<size_t>(op)];
}

}  // namespace sparsenet::rt

// Reads what a step of a stored plan computes with integers with. Internal to format/stored/; for programs without
// integers it need not be linked (step/linked_parts.h).
#pragma once

#include "step/step.h"

namespace sparsenet::schema {
struct PlanStep;
}

namespace sparsenet::rt {

// Points step->quant to memory[0], whose lists lie in the file; `memory` has room for as many as count_parts() tells.
// Checks the lengths of the lists, which QuantParams do not have; the rest is check_quant()'s to check.
const char* read_quant(const schema::PlanStep& from, QuantParams* const* memory, Step* step);

}  // namespace sparsenet::rt

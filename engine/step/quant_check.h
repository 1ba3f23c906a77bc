// Checks of what steps compute with integers with. Internal to step/ and to the readers of stored plans.
#pragma once

#include "step/step_check.h"

namespace sparsenet::rt {

inline bool is_scale(float scale) {
  return scale > 0.f && scale < __builtin_inff();
}

// Checks the types of a step's views and parameters, and that no numbers of its QuantParams let arithmetic overflow or
// shift too far. Lengths of lists other than that of the multipliers are the caller's to check.
const char* check_quant(const Step& step, const PlanRoom& room);

}  // namespace sparsenet::rt

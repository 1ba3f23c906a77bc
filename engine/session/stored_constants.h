// What makers of stored plans share.
#pragma once

#include "format/plan_format.h"
#include "plan/plan.h"

namespace sparsenet {

// kInvalidArgument, with the known ones, where it is none of them.
Status check_plan_target(const std::string& target);

// A plan with the constants that its steps read, taken from `lowered`, the graph it was made of, and from the plan's
// own. It belongs to `source`, the model's graph. Target and batch are for the caller to fill in.
Result<StoredPlan> gather_constants(Plan made, const Graph& lowered, const Graph& source);

}  // namespace sparsenet

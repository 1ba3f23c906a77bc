// What the functions that make stored plans share.
#pragma once

#include "format/plan_format.h"
#include "plan/plan.h"

namespace sparsenet {

// kInvalidArgument, listing the known targets, if `target` is not one of them.
Status check_plan_target(const std::string& target);

// Makes a stored plan: `made` with the constants that its steps read, which are taken from `lowered`, the graph it was
// made of, and from the plan's own. It belongs to `source`, the model's graph. The caller fills in target and batch.
Result<StoredPlan> gather_constants(Plan made, const Graph& lowered, const Graph& source);

}  // namespace sparsenet

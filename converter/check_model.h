// What is asked of an imported network before a file of it is written.
#pragma once

#include <sparsenet/model.h>
#include <sparsenet/status.h>

#include "converter/report.h"

namespace sparsenet::converter {

// Whether the engine can run the network, in the batch size that its inputs have: plans it, chooses a kernel for every
// step and, where that takes at most kMostBytesToBind, prepares a session of it. Larger ones are measured alone, which
// report->notes then say. The error names the node.
constexpr size_t kMostBytesToBind = size_t{256} << 20;
Status check_runs(const Model& model, Report* report);

}  // namespace sparsenet::converter

// What is asked of an imported network before a file of it is written.
#pragma once

#include <sparsenet/model.h>
#include <sparsenet/status.h>

namespace sparsenet::converter {

// Whether the engine can run the network, in the batch size that its inputs have: plans it, chooses a kernel for every
// step and, where that takes at most kMostBytesToBind, prepares a session of it. Larger ones are measured alone, for a
// conversion takes little more memory than twice the file. With `here` the conversion will run the network itself (for
// test vectors or a plan), and what that takes must be left of its budget. The error names the node.
constexpr size_t kMostBytesToBind = size_t{32} << 20;
Status check_runs(const Model& model, bool here);

}  // namespace sparsenet::converter

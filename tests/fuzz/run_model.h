// What targets do with a model that was read, and how they end if a promise is broken.
#pragma once

#include <sparsenet/model.h>

namespace sparsenet::fuzz {

// Ends the process with a message, for broken promises that no sanitizer detects.
[[noreturn]] void broken(const char* promise, const Status& status);

// Whether the work takes an acceptable time.
bool is_small(const Graph& graph);

// Plans the model; if it is small, runs it once on zeros, also without a stored plan. Returns the error of the first
// session that could not be created.
Status run_model(const Model& model);

}  // namespace sparsenet::fuzz

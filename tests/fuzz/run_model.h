// What targets do with a model that was read, and how they end where a promise is broken.
#pragma once

#include <sparsenet/model.h>

namespace sparsenet::fuzz {

// An end with words, where a promise that no sanitizer knows is broken.
[[noreturn]] void broken(const char* promise, const Status& status);

// Work that is worth waiting for.
bool is_small(const Graph& graph);

// Plans it; where it is small, runs it once on zeros, without a stored plan too. The error is that of the first session
// that could not be made.
Status run_model(const Model& model);

}  // namespace sparsenet::fuzz

// Work on several threads of the host.
#pragma once

#include <cstddef>
#include <functional>

namespace sparsenet::gpu {

// Calls work(i) for each i < count, on at most `threads` threads, of which the caller's is one. Returns false if any of
// the calls threw something.
bool run_in_threads(size_t count, size_t threads, const std::function<void(size_t)>& work);

}  // namespace sparsenet::gpu

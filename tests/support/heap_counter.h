// Counts heap calls and makes them fail. heap_counter.cpp replaces malloc and operator new in the program it is linked
// into, so it belongs in separate programs, not in tests_support.
#pragma once

#include <atomic>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define SPARSENET_OWN_MALLOC 0  // sanitizers replace malloc themselves; operator new is still ours to count
#else
#define SPARSENET_OWN_MALLOC 1
#endif

namespace sparsenet::test::heap {

extern std::atomic<bool> counting;  // while true, calls and frees are counted, for all threads
extern std::atomic<int64_t> calls, frees;
extern thread_local int64_t fail_after;  // allocations left to this thread before one fails; -1: none fails
extern thread_local bool fail_for_good;  // all later ones fail as well
extern thread_local bool failed;         // whether an allocation has failed

}  // namespace sparsenet::test::heap

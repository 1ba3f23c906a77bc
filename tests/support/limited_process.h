// Runs a program as a user would, with a time limit, and reports the resources it used: for inputs designed to use too
// many.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SPARSENET_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SPARSENET_SANITIZED 1
#endif
#endif

namespace sparsenet::test {

// What a sanitized program takes of memory and time for one that is not: the shadow of its memory, redzones, what has
// been freed and is held back.
#if defined(SPARSENET_SANITIZED)
constexpr size_t kSanitizedMemory = 6;
constexpr double kSanitizedTime = 8;
#else
constexpr size_t kSanitizedMemory = 1;
constexpr double kSanitizedTime = 1;
#endif

struct LimitedRun {
  int code = -1;           // the exit code, or 128 + the signal's number if a signal ended the program
  bool timed_out = false;  // it was still running after `most_seconds` of wall time, and was killed
  std::string out, err;
  double cpu_seconds = 0;
  size_t peak_bytes = 0;  // resident
};

// The first word is the program's path. It reads from /dev/null; its outputs are kept in `folder` meanwhile. No run may
// take 3 GiB of address space, so that a mistake costs a test and not the machine (except under sanitizers, which
// reserve terabytes).
LimitedRun run_limited(const std::vector<std::string>& words, const std::string& folder, double most_seconds);

}  // namespace sparsenet::test

// Runs a program as a user would, with a time limit, and reports the resources it used: for inputs designed to use too
// many.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace sparsenet::test {

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

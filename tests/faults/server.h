// A program under the preloaded library, which can be run again and again with one order each.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "faults.h"

namespace sparsenet::test {

struct FaultyRun {
  int code = -1;      // the exit code, or 128 + the signal's number if a signal ended the program
  bool hung = false;  // it had to be killed
  std::string out, err;
  faults_counts counts{};
};

class FaultServer {
 public:
  // Loads `program` with these arguments, in `folder`. The output of its runs goes to files there.
  FaultServer(const std::string& program, const std::vector<std::string>& arguments, const std::string& folder);
  FaultServer(const FaultServer&) = delete;
  FaultServer& operator=(const FaultServer&) = delete;
  ~FaultServer();

  FaultyRun run(const faults_order& order);

 private:
  bool read_answer(int* value, int milliseconds);

  std::string folder_;
  pid_t server_ = 0;
  int orders_ = -1, answers_ = -1, shared_ = -1;
  faults_counts* counts_ = nullptr;
};

}  // namespace sparsenet::test

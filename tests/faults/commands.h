// The command lines on which the faults are tried, with small inputs.
#pragma once

#include <string>
#include <vector>

namespace sparsenet::test {

struct FaultyCommand {
  const char* name;
  bool convert;                        // true: sparsenet-convert, false: sparsenet
  std::vector<std::string> arguments;  // files that it writes are in "out", a folder inside the folder in which it runs
  std::vector<std::string> outputs;    // in that folder; what it writes if nothing fails
  bool times = false;                  // its output contains times, which differ from run to run
};

// Creates the inputs in `folder` (in/...), once.
std::vector<FaultyCommand> faulty_commands(const std::string& folder);

}  // namespace sparsenet::test

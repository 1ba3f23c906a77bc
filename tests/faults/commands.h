// The command lines that the faults are tried on, with small inputs.
#pragma once

#include <string>
#include <vector>

namespace sparsenet::test {

struct FaultyCommand {
  const char* name;
  bool convert;                        // sparsenet-convert, else sparsenet
  std::vector<std::string> arguments;  // files it writes are in "out", a folder of the folder it runs in
  std::vector<std::string> outputs;    // in that folder; what it writes when all goes well
  bool times = false;                  // what it prints holds times that differ from run to run
};

// Makes the inputs in `folder` (in/...), once.
std::vector<FaultyCommand> faulty_commands(const std::string& folder);

}  // namespace sparsenet::test

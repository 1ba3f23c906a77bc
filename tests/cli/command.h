// Runs the `sparsenet` program as a user would, and makes files for it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace sparsenet::test {

struct Outcome {
  int code = -1;  // the exit code, or 128 + the signal's number if a signal ended the program
  std::string out, err;
};

// Runs `sparsenet` with these arguments; the program reads from /dev/null.
Outcome sparsenet(const std::vector<std::string>& arguments);

// Runs with --json and parses stdout, which must be one document and nothing else. Fails the test case on another exit
// code.
nlohmann::json json_of(std::vector<std::string> arguments, int expected_code = 0);

// True if the program failed as it should: with this exit code, nothing on stdout, and one line `error: ...` that
// contains every part.
bool fails(const Outcome& outcome, int code, const std::vector<std::string>& parts);

// A folder of this process that is removed when the program ends; with a name, a path in it.
std::string scratch(const std::string& name = "");

// sparsenet-abc-v0 with random weights, CIFAR-10 labels, mean and std, and one embedded test vector from the reference
// kernels. Created once.
const std::string& small_model();

std::string sample(const std::string& name);  // a path in samples/

}  // namespace sparsenet::test

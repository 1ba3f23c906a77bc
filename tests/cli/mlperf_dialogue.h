// A dialogue with sparsenet-mlperf-tiny over pipes, as a benchmark's runner has it over a serial port.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "command.h"

namespace sparsenet::test {

using Lines = std::vector<std::string>;

// The program with both of its streams connected to pipes.
class Dialogue {
 public:
  explicit Dialogue(const std::vector<std::string>& arguments);
  ~Dialogue() { (void)end(); }
  Dialogue(const Dialogue&) = delete;
  Dialogue& operator=(const Dialogue&) = delete;

  // All lines up to "m-ready", which is not included. Lines end with CR LF.
  Lines read();
  void write(const std::string& text);
  Lines ask(const std::string& command);
  std::string ask_one(const std::string& command);
  // Sends an input as runners do.
  void load(const std::vector<uint8_t>& bytes);
  // The line of results of one inference.
  std::string infer(const std::vector<uint8_t>& bytes);
  // Closes the line and returns the program's exit code.
  int end();

 private:
  pid_t child_ = 0;
  int to_ = -1, from_ = -1;
  std::string text_;
};

// "m-results-[...]" with three decimals.
std::string results_line(const std::vector<float>& values);

// Runs sparsenet-mlperf-tiny to the end with empty input.
Outcome mlperf(const std::vector<std::string>& arguments);

}  // namespace sparsenet::test

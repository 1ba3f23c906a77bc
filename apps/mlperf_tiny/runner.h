// The host's part of the benchmark, in the same process: sends commands to the device over a line in memory and reads
// its answers, as the public runners do over a serial port. So the score is based on what the device answers.
#pragma once

#include <sparsenet/status.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "mlperf_tiny/protocol.h"
#include "mlperf_tiny/task.h"
#include "mlperf_tiny/th.h"

namespace sparsenet::mlperf {

// What a runner sends for one inference.
struct Input {
  const uint8_t* data;
  size_t bytes;
};

struct Window {
  uint32_t iterations = 0;
  double seconds = 0;
  double per_second() const { return iterations / seconds; }
};

class Runner {
 public:
  // Makes itself the device's line. There may be only one at a time.
  Runner(Protocol* protocol, Task* task);
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  Status start();
  // The results of one inference, as the device prints them; at least one.
  Result<std::vector<float>> infer(const Input& input);
  // One window: as many inferences of this input as are needed for at least `seconds`, and at least
  // `least_iterations`.
  Result<Window> measure(const Input& input, double seconds, uint32_t least_iterations);

 private:
  Status send(const std::string& command, std::vector<std::string>* lines = nullptr);
  Status load(const Input& input);

  Protocol* protocol_;
  std::string answer_;
};

}  // namespace sparsenet::mlperf

// The host's part of the benchmark, in the same process: sends commands to the device over a line in memory and reads
// its answers, as the public runners do over a serial port. So the score is based on what the device answers.
#pragma once

#include <sparsenet/status.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "mlperf_tiny/ic_task.h"
#include "mlperf_tiny/protocol.h"
#include "mlperf_tiny/th.h"

namespace sparsenet::mlperf {

struct Sample {
  uint8_t label = 0;
  uint8_t bytes[IcTask::kInputBytes] = {};
};

// All images of a CIFAR-10 file, or those whose indices a .npy file lists, in its order.
Result<std::vector<Sample>> read_samples(const std::string& images, const std::string& indices);

struct Window {
  uint32_t iterations = 0;
  double seconds = 0;
  double per_second() const { return iterations / seconds; }
};

class Runner {
 public:
  // Makes itself the device's line. There may be only one at a time.
  Runner(Protocol* protocol, IcTask* task);
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  Status start();
  // The class with the largest result; of equal ones the first.
  Result<size_t> classify(const Sample& sample);
  // One window: as many inferences of this sample as are needed for at least `seconds`, and at least
  // `least_iterations`.
  Result<Window> measure(const Sample& sample, double seconds, uint32_t least_iterations);

 private:
  Status send(const std::string& command, std::vector<std::string>* lines = nullptr);
  Status load(const Sample& sample);

  Protocol* protocol_;
  std::string answer_;
};

}  // namespace sparsenet::mlperf

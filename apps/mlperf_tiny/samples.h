// Labelled inputs for a score: the benchmark's own folders of files, or CIFAR-10's.
#pragma once

#include <sparsenet/status.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "mlperf_tiny/task.h"

namespace sparsenet::mlperf {

struct Sample {
  size_t label = 0;
  std::vector<uint8_t> bytes;  // of an input; of several that overlap, for anomaly detection
  size_t stride = 0;           // bytes from one input to the next

  size_t inputs(size_t input_bytes) const { return stride == 0 ? 1 : (bytes.size() - input_bytes) / stride + 1; }
};

// `path` is
// - a folder of the benchmark: y_labels.csv with lines FILE,CLASSES,CLASS (for anomaly detection followed by the bytes
//   of an input and those from one to the next), and the files, which hold what runners send;
// - for image classification also a CIFAR-10 file.
// All samples, or, if `indices` is not empty, those whose indices that .npy file lists, in its order.
Result<std::vector<Sample>> read_samples(const TaskKind& kind, const std::string& path, const std::string& indices);

}  // namespace sparsenet::mlperf

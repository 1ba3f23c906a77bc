// Half-precision weights: the parameters of a graph are stored as float16, which halves their size. They are widened to
// float32, which is exact, when a session prepares its steps, or on devices as they are read; all arithmetic is
// float32.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet {

struct PrecisionReport {
  int64_t rounded = 0;     // tensors that are float16 now
  int64_t statistics = 0;  // means and variances of BatchNorm, which stay float32
  // Names of tensors that stay float32: an element is beyond 65,504; or of weights or scales, with what is added behind
  // them, that are all below 2^-14.
  std::vector<std::string> out_of_range;
};

// Rounds weights and biases of convolutions and fully connected layers, and scales and shifts of BatchNorm, to float16
// (ties to even; subnormal numbers are kept). Other constants, and tensors that are float16 already, stay as they are.
// What passes compute from such constants is rounded too when a session or a stored plan is made, so that both give
// the same bits. Errors: kInvalidModel (as from infer_shapes(); no constant has changed), kOutOfMemory (the graph is
// then partly converted).
Result<PrecisionReport> parameters_to_float16(Graph* graph);

// Widens all float16 constants, which is exact. Errors as above.
Status constants_to_float32(Graph* graph);

}  // namespace sparsenet

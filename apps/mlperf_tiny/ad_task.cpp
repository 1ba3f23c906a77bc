// Anomaly detection, "ad01": a window of 5 frames of 128 features, float32 (little-endian), which the network tries to
// reproduce. The result is the mean of the squared differences between the two.
#include <string.h>

#include "mlperf_tiny/task.h"

namespace sparsenet::mlperf {
namespace {

constexpr size_t kFeatures = 5 * 128, kInputBytes = kFeatures * sizeof(float);
static_assert(kInputBytes <= kMostInputBytes, "");

bool takes(const sn_tensor& input) {
  int32_t largest = 1;
  for (int32_t i = 0; i < input.rank && i < 8; ++i) {
    if (input.dims[i] > largest) largest = input.dims[i];
  }
  return input.elements == kFeatures && largest == static_cast<int32_t>(kFeatures);
}

const char* check(const sn_session*, const sn_tensor&, const sn_tensor& output) {
  return output.elements == kFeatures ? nullptr : "expected an output of 640 features, as many as in the input";
}

float feature(const uint8_t* bytes, size_t i) {
  float value;
  memcpy(&value, bytes + i * sizeof value, sizeof value);
  return value;
}

void load(const sn_session*, const uint8_t* bytes, Numbers* input) {
  for (size_t i = 0; i < kFeatures; ++i) input->set(i, feature(bytes, i));
}

// Compares with what the runner sent, not with the integers that it became, as the benchmark's own firmware does. Fused
// multiplications, so that every machine finds the same bits.
float score(const uint8_t* bytes, const Numbers& outputs) {
  float sum = 0;
  for (size_t i = 0; i < kFeatures; ++i) {
    const float difference = outputs.get(i) - feature(bytes, i);
    sum = __builtin_fmaf(difference, difference, sum);
  }
  return sum / static_cast<float>(kFeatures);
}

}  // namespace

const TaskKind anomaly_detection{"ad",  "ad01", kInputBytes, "expected an input of 640 features",
                                 takes, check,  load,        score};

}  // namespace sparsenet::mlperf

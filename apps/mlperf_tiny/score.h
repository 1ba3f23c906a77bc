// A score, in the benchmark's terms: the accuracy on labelled samples, and the speed of windows of inferences.
#pragma once

#include <sparsenet/status.h>

#include <cstddef>
#include <string>
#include <vector>

#include "mlperf_tiny/runner.h"
#include "mlperf_tiny/samples.h"

namespace sparsenet::mlperf {

struct Accuracy {
  size_t samples = 0, inputs = 0;
  size_t correct = 0;  // of classification: where the largest result is the label's; of equal ones the first counts
  double auc = 0;      // of anomaly detection: the area under the ROC curve
  double percent() const { return 100.0 * static_cast<double>(correct) / static_cast<double>(samples); }
};

// The area under the ROC curve: how often a sample of label 1 has a larger number than one of label 0; equal numbers
// count half. kInvalidArgument if all labels are the same or a number is not finite.
Result<double> area_under_curve(const std::vector<double>& numbers, const std::vector<size_t>& labels);

// For anomaly detection a sample's number is the mean of its inputs' results.
Result<Accuracy> find_accuracy(const TaskKind& kind, const std::vector<Sample>& samples, Runner* runner);

}  // namespace sparsenet::mlperf

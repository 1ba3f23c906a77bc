#include "mlperf_tiny/score.h"

#include <algorithm>
#include <cmath>

namespace sparsenet::mlperf {

Result<double> area_under_curve(const std::vector<double>& numbers, const std::vector<size_t>& labels) {
  std::vector<size_t> order(numbers.size());
  for (size_t i = 0; i < order.size(); ++i) {
    if (!std::isfinite(numbers[i])) return invalid_argument("sample " + std::to_string(i) + " has no finite result");
    order[i] = i;
  }
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return numbers[a] < numbers[b]; });
  double pairs = 0, below = 0, anomalies = 0;  // below: samples of label 0 with smaller numbers
  for (size_t from = 0; from < order.size();) {
    double normal_here = 0, anomalies_here = 0;
    size_t to = from;
    for (; to < order.size() && numbers[order[to]] == numbers[order[from]]; ++to) {
      (labels[order[to]] == 0 ? normal_here : anomalies_here) += 1;
    }
    pairs += anomalies_here * (below + normal_here / 2);
    below += normal_here;
    anomalies += anomalies_here;
    from = to;
  }
  if (below == 0 || anomalies == 0) {
    return invalid_argument("expected samples of both classes, 0 (normal) and 1 (anomaly), found only one class");
  }
  return pairs / (below * anomalies);
}

Result<Accuracy> find_accuracy(const TaskKind& kind, const std::vector<Sample>& samples, Runner* runner) {
  Accuracy accuracy;
  std::vector<double> means;
  std::vector<size_t> labels;
  for (const Sample& sample : samples) {
    const size_t inputs = sample.inputs(kind.input_bytes);
    double sum = 0;
    for (size_t i = 0; i < inputs; ++i) {
      SPARSENET_ASSIGN_OR_RETURN(const auto results,
                                 runner->infer({sample.bytes.data() + i * sample.stride, kind.input_bytes}));
      const auto best = std::max_element(results.begin(), results.end()) - results.begin();
      if (!kind.score && static_cast<size_t>(best) == sample.label) ++accuracy.correct;
      sum += static_cast<double>(results[0]);
    }
    means.push_back(sum / static_cast<double>(inputs));
    labels.push_back(sample.label);
    accuracy.inputs += inputs;
  }
  accuracy.samples = samples.size();
  if (kind.score) {
    SPARSENET_ASSIGN_OR_RETURN(accuracy.auc, area_under_curve(means, labels));
  }
  return accuracy;
}

}  // namespace sparsenet::mlperf

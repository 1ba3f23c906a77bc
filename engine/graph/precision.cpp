#include <sparsenet/precision.h>

#include <utility>

#include "base/guarded.h"

namespace sparsenet {
namespace {

enum Use : uint8_t { kOther = 0, kParameter, kStatistic };

// By value: whether layers read it as a parameter, as a statistic of BatchNorm, or as neither.
std::vector<Use> uses_of(const Graph& graph) {
  std::vector<Use> uses(graph.values.size(), kOther);
  for (const Node& node : graph.nodes) {
    const bool norm = node.op == Op::kBatchNorm;
    if (!norm && node.op != Op::kConv && node.op != Op::kFullyConnected) continue;
    for (size_t i = 1; i < node.inputs.size() && i <= (norm ? 4 : 2); ++i) {
      if (node.inputs[i] == kNoValue) continue;
      Use& use = uses[static_cast<size_t>(node.inputs[i])];
      use = i > 2 || use == kStatistic ? kStatistic : kParameter;
    }
  }
  return uses;
}

}  // namespace

Result<PrecisionReport> parameters_to_float16(Graph* graph) {
  return guarded("rounding to float16", [&]() -> Result<PrecisionReport> {
    PrecisionReport report;
    const std::vector<Use> uses = uses_of(*graph);
    for (size_t i = 0; i < graph->values.size(); ++i) {
      Value& value = graph->values[i];
      if (!value.is_constant || value.type != DataType::kFloat32 || !value.constant.data) continue;
      if (uses[i] == kStatistic) ++report.statistics;
      if (uses[i] != kParameter) continue;
      if (to_float16(value.constant, &value.constant)) {
        value.type = DataType::kFloat16;
        ++report.rounded;
      } else {
        report.too_large.push_back(value.name);
      }
    }
    return report;
  });
}

Status constants_to_float32(Graph* graph) {
  return guarded("widening float16 constants", [&]() -> Status {
    for (Value& value : graph->values) {
      if (!value.is_constant || value.type != DataType::kFloat16) continue;
      value.constant = Tensor::from(value.shape, to_float32(value.constant));
      value.type = DataType::kFloat32;
    }
    return {};
  });
}

}  // namespace sparsenet

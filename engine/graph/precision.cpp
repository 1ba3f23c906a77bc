#include "graph/precision.h"

#include <sparsenet/precision.h>

#include <algorithm>
#include <cmath>
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

bool is_too_small(const Tensor& tensor) {
  constexpr float kSmallestNormal = 6.103515625e-5f;
  float largest = 0;
  for (int64_t i = 0; i < tensor.elements(); ++i) largest = std::max(largest, std::fabs(tensor.f32()[i]));
  return largest > 0.f && largest < kSmallestNormal;
}

}  // namespace

std::vector<bool> too_small_for_float16(const Graph& graph) {
  std::vector<bool> small(graph.values.size(), false);
  for (const Node& node : graph.nodes) {
    const bool layer = node.op == Op::kConv || node.op == Op::kFullyConnected || node.op == Op::kBatchNorm;
    if (!layer && node.op != Op::kAffine && node.op != Op::kAttention) continue;
    // Factors stand in front of what is added: weight, bias; scale, shift; the four pairs of attention.
    const size_t last = node.op == Op::kAttention ? 7 : 1;
    for (size_t i = 1; i <= last && i < node.inputs.size(); i += 2) {
      const ValueId factor = node.inputs[i];
      if (factor == kNoValue) continue;
      const Value& value = graph.value(factor);
      if (!value.is_constant || value.type != DataType::kFloat32 || !is_too_small(value.constant)) continue;
      small[static_cast<size_t>(factor)] = true;
      if (i + 1 < node.inputs.size() && node.inputs[i + 1] != kNoValue) {
        small[static_cast<size_t>(node.inputs[i + 1])] = true;
      }
    }
  }
  return small;
}

Result<PrecisionReport> parameters_to_float16(Graph* graph) {
  return guarded("rounding to float16", [&]() -> Result<PrecisionReport> {
    SPARSENET_RETURN_IF_ERROR(graph->infer_shapes());  // nobody may have checked it yet
    PrecisionReport report;
    const std::vector<Use> uses = uses_of(*graph);
    const std::vector<bool> small = too_small_for_float16(*graph);
    for (size_t i = 0; i < graph->values.size(); ++i) {
      Value& value = graph->values[i];
      if (!value.is_constant || value.type != DataType::kFloat32) continue;
      if (uses[i] == kStatistic) ++report.statistics;
      if (uses[i] != kParameter) continue;
      if (!small[i] && to_float16(value.constant, &value.constant)) {
        value.type = DataType::kFloat16;
        ++report.rounded;
      } else {
        report.out_of_range.push_back(value.name);
      }
    }
    return report;
  });
}

Status constants_to_float32(Graph* graph) {
  return guarded("widening float16 constants", [&]() -> Status {
    SPARSENET_RETURN_IF_ERROR(graph->infer_shapes());
    for (Value& value : graph->values) {
      if (!value.is_constant || value.type != DataType::kFloat16) continue;
      value.constant = Tensor::from(value.shape, to_float32(value.constant));
      value.type = DataType::kFloat32;
    }
    return {};
  });
}

}  // namespace sparsenet

#include "passes/half_constants.h"

#include <utility>
#include <vector>

#include "graph/precision.h"

namespace sparsenet {

HalfConstants::HalfConstants(Graph* graph) {
  for (Value& value : graph->values) {
    if (!value.is_constant || value.type != DataType::kFloat16) continue;
    Tensor wide = Tensor::from(value.shape, to_float32(value.constant));
    halves_.emplace(wide.data, std::move(value.constant));
    value.constant = std::move(wide);
    value.type = DataType::kFloat32;
  }
  if (halves_.empty()) return;
  for (const Value& value : graph->values) {
    if (value.is_constant && halves_.count(value.constant.data) == 0) floats_.insert(value.constant.data);
  }
}

void HalfConstants::restore(Graph* graph) const {
  if (halves_.empty()) return;
  const std::vector<bool> small = too_small_for_float16(*graph);
  for (size_t i = 0; i < graph->values.size(); ++i) {
    Value& value = graph->values[i];
    if (!value.is_constant || value.type != DataType::kFloat32) continue;
    const auto known = halves_.find(value.constant.data);
    if (known != halves_.end()) {
      value.constant = known->second;
      value.constant.shape = value.shape;  // passes may give the same data another shape
      value.type = DataType::kFloat16;
    } else if (floats_.count(value.constant.data) == 0 && !small[i] && to_float16(value.constant, &value.constant)) {
      value.type = DataType::kFloat16;
    }
  }
}

}  // namespace sparsenet

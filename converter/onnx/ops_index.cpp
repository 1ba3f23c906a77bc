// ONNX operators that pick elements along an axis in any order: Gather, and Slice backwards.
#include <algorithm>

#include "converter/onnx/node_context.h"

namespace sparsenet::converter {

// Neighbours in ascending order are one slice; the slices are concatenated. Neither moves data where the axis is the
// channels'.
Result<ValueId> pick_along_axis(NodeContext& c, ValueId x, int32_t axis, const std::vector<int64_t>& indices,
                                const std::string& output_name) {
  constexpr size_t kMostRuns = 64;
  const Shape shape = c.writer().shape(x);
  const int64_t dim = shape[static_cast<size_t>(axis)];
  if (axis == 0) return unsupported("picks images of the batch");
  if (indices.empty()) return unsupported("it picks no elements");
  std::vector<std::pair<int64_t, int64_t>> runs;  // first, behind the last
  for (const int64_t index : indices) {
    if (index < -dim || index >= dim) {
      return invalid_model("index " + std::to_string(index) + " of " + std::to_string(dim));
    }
    const int64_t at = index < 0 ? index + dim : index;
    if (!runs.empty() && runs.back().second == at) {
      ++runs.back().second;
    } else {
      runs.emplace_back(at, at + 1);
    }
    if (runs.size() > kMostRuns) {
      return unsupported("it picks elements in an order of more than " + std::to_string(kMostRuns) + " pieces");
    }
  }
  const bool one = runs.size() == 1;
  std::vector<ValueId> parts;
  for (const auto& [first, last] : runs) {
    if (first == 0 && last == dim) {
      parts.push_back(x);
      continue;
    }
    SliceAttrs attrs{{axis}, {first}, {last}, {1}};
    const std::string name = one ? output_name : c.name() + ".part";
    SPARSENET_ASSIGN_OR_RETURN(ValueId part, c.writer().node(Op::kSlice, c.name(), {x}, std::move(attrs), name));
    parts.push_back(part);
  }
  if (one) return parts[0];
  return c.writer().node(Op::kConcat, c.name(), std::move(parts), AxisAttrs{axis}, output_name);
}

namespace {

Status import_gather(NodeContext& c) {
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  const Shape shape = c.writer().shape(x);
  SPARSENET_ASSIGN_OR_RETURN(const int32_t axis, normalize_axis(c.int_attribute("axis", 0), shape.size()));
  SPARSENET_ASSIGN_OR_RETURN(const std::vector<int64_t> indices, c.ints(1, "indices"));
  const Shape& list = c.input(1)->constant->shape;
  Shape target(shape.begin(), shape.begin() + axis);
  target.insert(target.end(), list.begin(), list.end());
  target.insert(target.end(), shape.begin() + axis + 1, shape.end());
  const bool keeps_rank = list.size() == 1;
  SPARSENET_ASSIGN_OR_RETURN(
      ValueId y, pick_along_axis(c, x, axis, indices, keeps_rank ? c.output_name(0) : c.name() + ".picked"));
  if (!keeps_rank) {
    SPARSENET_ASSIGN_OR_RETURN(y, c.writer().reshape(c.name(), y, target, c.output_name(0)));
  }
  c.set_output(0, y);
  return {};
}

}  // namespace

NodeImporter find_index_op(const std::string& op) {
  return op == "Gather" ? import_gather : nullptr;
}

}  // namespace sparsenet::converter

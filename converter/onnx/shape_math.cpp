#include "converter/onnx/shape_math.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace sparsenet::converter {

Result<Shape> reshaped(const Shape& from, const std::vector<int64_t>& dims, bool allow_zero) {
  constexpr size_t kMaxRank = 8;
  if (dims.size() > kMaxRank)
    return unsupported("shape: expected at most 8 dimensions, found " + std::to_string(dims.size()));
  Shape out;
  size_t free_at = SIZE_MAX;
  for (size_t i = 0; i < dims.size(); ++i) {
    int64_t dim = dims[i];
    if (dim == 0 && !allow_zero) {
      if (i >= from.size()) return invalid_model("shape " + to_string(dims) + ": 0 where the input has no dimension");
      dim = from[i];
    } else if (dim == -1) {
      if (free_at != SIZE_MAX) return invalid_model("shape " + to_string(dims) + ": more than one -1");
      free_at = i;
      dim = 1;
    } else if (dim < 0) {
      return invalid_model("shape " + to_string(dims) + ": expected -1, 0 or sizes");
    }
    out.push_back(dim);
  }
  const int64_t known = element_count(out), total = element_count(from);
  if (free_at != SIZE_MAX && known > 0 && total % known == 0) out[free_at] = total / known;
  if (known < 0 || element_count(out) != total) {
    return invalid_model("shape: expected " + std::to_string(total) + " elements of " + to_string(from) + ", found " +
                         to_string(dims));
  }
  return out;
}

Result<Shape> flattened(const Shape& from, int64_t axis) {
  const auto rank = static_cast<int64_t>(from.size());
  if (axis < -rank || axis > rank)
    return invalid_model("axis: expected one of " + to_string(from) + ", found " + std::to_string(axis));
  if (axis < 0) axis += rank;
  Shape out{1, 1};
  for (int64_t d = 0; d < rank; ++d) out[d < axis ? 0 : 1] *= from[static_cast<size_t>(d)];
  return out;
}

Result<Shape> squeezed(const Shape& from, const std::vector<int64_t>& axes) {
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int32_t> normal, normalize_axes(axes, from.size()));
  Shape out;
  for (size_t d = 0; d < from.size(); ++d) {
    if (!std::binary_search(normal.begin(), normal.end(), static_cast<int32_t>(d))) {
      out.push_back(from[d]);
    } else if (from[d] != 1) {
      return invalid_model("axis " + std::to_string(d) + ": expected size 1, found " + to_string(from));
    }
  }
  return out;
}

Result<Shape> unsqueezed(const Shape& from, const std::vector<int64_t>& axes) {
  const size_t rank = from.size() + axes.size();
  if (rank > 8) return unsupported("rank " + std::to_string(rank) + ": expected at most 8");
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int32_t> normal, normalize_axes(axes, rank));
  Shape out;
  size_t next = 0;
  for (size_t d = 0; d < rank; ++d) {
    const bool is_new = std::binary_search(normal.begin(), normal.end(), static_cast<int32_t>(d));
    out.push_back(is_new ? 1 : from[next++]);
  }
  return out;
}

Result<std::vector<int32_t>> read_perm(const std::vector<int64_t>& perm, size_t rank) {
  std::vector<int32_t> out;
  if (perm.empty()) {
    for (size_t d = rank; d-- > 0;) out.push_back(static_cast<int32_t>(d));
    return out;
  }
  std::vector<bool> seen(rank, false);
  for (int64_t axis : perm) {
    if (axis < 0 || axis >= static_cast<int64_t>(rank) || seen[static_cast<size_t>(axis)] || perm.size() != rank) {
      return invalid_model("perm: expected each of " + std::to_string(rank) + " axes once, found " + to_string(perm));
    }
    seen[static_cast<size_t>(axis)] = true;
    out.push_back(static_cast<int32_t>(axis));
  }
  return out;
}

Status read_slice(NodeContext& c, SliceRequest* out) {
  out->starts = c.ints_attribute("starts");
  out->ends = c.ints_attribute("ends");
  out->axes = c.ints_attribute("axes");
  std::vector<int64_t>* const lists[] = {&out->starts, &out->ends, &out->axes, &out->steps};
  static const char* const kNames[] = {"starts", "ends", "axes", "steps"};
  for (size_t i = 0; i < 4; ++i) {
    if (!c.has_input(i + 1)) continue;
    SPARSENET_ASSIGN_OR_RETURN(std::vector<int64_t> given, c.ints(i + 1, kNames[i]));
    *lists[i] = given;
  }
  const size_t n = out->starts.size();
  if (out->axes.empty()) {
    for (size_t i = 0; i < n; ++i) out->axes.push_back(static_cast<int64_t>(i));
  }
  if (out->steps.empty()) out->steps.assign(n, 1);
  if (n == 0 || out->ends.size() != n || out->axes.size() != n || out->steps.size() != n) {
    return invalid_model("expected as many starts, ends, axes and steps");
  }
  return {};
}

Result<SliceRange> slice_range(const SliceRequest& request, size_t i, int64_t dim) {
  const int64_t step = request.steps[i];
  if (step == 0) return invalid_model("steps: expected another number than 0");
  const int64_t given = request.ends[i];
  if (step < 0 && (given == INT64_MAX || given == INT32_MAX)) {
    return unsupported(
        "ends: the largest integer with a negative step, which ONNX Runtime takes for the beginning and the "
        "specification for the end");
  }
  const auto counted = [dim](int64_t at) { return at < 0 ? std::max<int64_t>(at, -dim - 1) + dim : at; };
  // Backwards, an end of -1 stands before the first element; a start does not.
  const int64_t last = std::max<int64_t>(step > 0 ? dim : dim - 1, 0);
  SliceRange range;
  range.start = std::clamp<int64_t>(counted(request.starts[i]), 0, last);
  const int64_t end = std::clamp<int64_t>(counted(given), step > 0 ? 0 : -1, last);
  // No step is longer than the axis, so that nothing overflows.
  range.step = std::clamp<int64_t>(step, -dim - 1, dim + 1);
  const int64_t distance = step > 0 ? end - range.start : range.start - end, length = std::abs(range.step);
  range.count = dim > 0 && distance > 0 ? (distance + length - 1) / length : 0;
  if (range.count == 0) range.start = 0;
  return range;
}

}  // namespace sparsenet::converter

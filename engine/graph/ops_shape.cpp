// Shape rules of the ops that only move data.
#include "graph/ops.h"

namespace sparsenet {
namespace {

Status check_axis(const Shape& x, int32_t axis) {
  if (axis >= 0 && static_cast<size_t>(axis) < x.size()) return {};
  return ShapeContext::mismatch("axis", "0 to " + std::to_string(static_cast<int64_t>(x.size()) - 1),
                                std::to_string(axis));
}

}  // namespace

Status infer_concat(ShapeContext& c) {
  const int32_t axis = std::get<AxisAttrs>(c.node.attrs).axis;
  Shape out = c.input(0);
  SPARSENET_RETURN_IF_ERROR(check_axis(out, axis));
  const auto at = static_cast<size_t>(axis);
  for (size_t i = 1; i < c.input_count(); ++i) {
    Shape expected = out;
    const Shape& x = c.input(i);
    if (x.size() == out.size()) expected[at] = x[at];
    if (x != expected) {
      return c.mismatch("input " + std::to_string(i), to_string(out) + " but for axis " + std::to_string(axis),
                        to_string(x));
    }
    if (x[at] > INT32_MAX - out[at]) return invalid_model("concatenated axis is too large");
    out[at] += x[at];
  }
  c.outputs[0] = std::move(out);
  return {};
}

Status infer_split(ShapeContext& c) {
  const auto& a = std::get<SplitAttrs>(c.node.attrs);
  const Shape& x = c.input(0);
  SPARSENET_RETURN_IF_ERROR(check_axis(x, a.axis));
  const auto at = static_cast<size_t>(a.axis);
  if (a.sizes.size() != c.outputs.size() || a.sizes.empty()) {
    return c.mismatch("sizes", std::to_string(c.outputs.size()) + " (one per output)", std::to_string(a.sizes.size()));
  }
  int64_t sum = 0;
  for (size_t i = 0; i < a.sizes.size(); ++i) {
    if (a.sizes[i] < 1 || a.sizes[i] > x[at])
      return c.mismatch("sizes", "1 to " + std::to_string(x[at]), std::to_string(a.sizes[i]));
    sum += a.sizes[i];
    c.outputs[i] = x;
    c.outputs[i][at] = a.sizes[i];
  }
  if (sum != x[at]) return c.mismatch("sizes", "a sum of " + std::to_string(x[at]), std::to_string(sum));
  return {};
}

Status infer_slice(ShapeContext& c) {
  const auto& a = std::get<SliceAttrs>(c.node.attrs);
  const Shape& x = c.input(0);
  const size_t n = a.axes.size();
  if (a.starts.size() != n || a.ends.size() != n || a.steps.size() != n) {
    return c.mismatch("attributes", "as many starts, ends and steps as axes", "other counts");
  }
  Shape out = x;
  for (size_t i = 0; i < n; ++i) {
    SPARSENET_RETURN_IF_ERROR(check_axis(x, a.axes[i]));
    for (size_t j = 0; j < i; ++j) {
      if (a.axes[j] == a.axes[i]) return invalid_model("axis " + std::to_string(a.axes[i]) + " is sliced twice");
    }
    const int64_t dim = x[static_cast<size_t>(a.axes[i])];
    if (a.starts[i] < 0 || a.ends[i] > dim || a.starts[i] >= a.ends[i] || a.steps[i] < 1) {
      return c.mismatch(
          "range of axis " + std::to_string(a.axes[i]), "0 <= start < end <= " + std::to_string(dim) + ", step >= 1",
          std::to_string(a.starts[i]) + ".." + std::to_string(a.ends[i]) + " step " + std::to_string(a.steps[i]));
    }
    out[static_cast<size_t>(a.axes[i])] = (a.ends[i] - a.starts[i] - 1) / a.steps[i] + 1;
  }
  c.outputs[0] = std::move(out);
  return {};
}

Status infer_pad(ShapeContext& c) {
  const auto& a = std::get<PadAttrs>(c.node.attrs);
  Shape out = c.input(0);
  if (a.before.size() != out.size() || a.after.size() != out.size()) {
    return c.mismatch("padding", "one pair per dimension of " + to_string(out), std::to_string(a.before.size()));
  }
  for (size_t d = 0; d < out.size(); ++d) {
    if (a.before[d] < 0 || a.after[d] < 0 || a.before[d] > INT32_MAX || a.after[d] > INT32_MAX) {
      return c.mismatch("padding", "0 or more", std::to_string(a.before[d]) + " and " + std::to_string(a.after[d]));
    }
    out[d] += a.before[d] + a.after[d];
  }
  if (a.before[0] != 0 || a.after[0] != 0) return c.mismatch("padding of the batch", "0", std::to_string(a.before[0]));
  c.outputs[0] = std::move(out);
  return {};
}

Status infer_reshape(ShapeContext& c) {
  const auto& a = std::get<ReshapeAttrs>(c.node.attrs);
  const Shape& x = c.input(0);
  Shape out;
  int64_t known = 1;
  size_t free_at = SIZE_MAX;
  for (size_t i = 0; i < a.dims.size(); ++i) {
    int64_t dim = a.dims[i];
    if (dim == 0) {
      if (i >= x.size()) return c.mismatch("dims", "0 only where the input has a dimension", to_string(a.dims));
      dim = x[i];
    } else if (dim == -1) {
      if (free_at != SIZE_MAX) return c.mismatch("dims", "at most one -1", to_string(a.dims));
      free_at = i;
      dim = 1;
    } else if (dim < 0) {
      return c.mismatch("dims", "-1, 0 or a size", to_string(a.dims));
    }
    out.push_back(dim);
    known = element_count(out);
    if (known < 0) return invalid_model("dims " + to_string(a.dims) + " are too large");
  }
  const int64_t total = element_count(x);
  if (free_at != SIZE_MAX) {
    if (known == 0 || total % known != 0) return c.mismatch("dims", "a divisor of " + to_string(x), to_string(a.dims));
    out[free_at] = total / known;
  } else if (known != total) {
    return c.mismatch("dims", std::to_string(total) + " elements of " + to_string(x), to_string(a.dims));
  }
  c.outputs[0] = std::move(out);
  return {};
}

Status infer_transpose(ShapeContext& c) {
  const auto& perm = std::get<TransposeAttrs>(c.node.attrs).perm;
  const Shape& x = c.input(0);
  if (perm.size() != x.size())
    return c.mismatch("perm", std::to_string(x.size()) + " axes", std::to_string(perm.size()));
  std::vector<bool> seen(x.size(), false);
  Shape out;
  for (int32_t axis : perm) {
    SPARSENET_RETURN_IF_ERROR(check_axis(x, axis));
    if (seen[static_cast<size_t>(axis)])
      return c.mismatch("perm", "each axis once", "axis " + std::to_string(axis) + " twice");
    seen[static_cast<size_t>(axis)] = true;
    out.push_back(x[static_cast<size_t>(axis)]);
  }
  c.outputs[0] = std::move(out);
  return {};
}

}  // namespace sparsenet

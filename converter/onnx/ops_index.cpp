// ONNX operators that choose, repeat or rearrange elements: Slice, Gather, Expand, Tile, Pad, DepthToSpace,
// SpaceToDepth.
#include <algorithm>
#include <climits>

#include "converter/onnx/compose.h"
#include "converter/onnx/shape_math.h"

namespace sparsenet::converter {
namespace {

constexpr int64_t kMostIndices = 1 << 16;

Status import_slice(NodeContext& c) {
  SliceRequest request;
  SPARSENET_RETURN_IF_ERROR(read_slice(c, &request));
  Compose g(c);
  ValueId x = g.input(0);
  const Shape shape = g.shape(x);
  SliceAttrs attrs;
  bool changed = false;
  for (size_t i = 0; g.ok() && i < request.axes.size(); ++i) {
    SPARSENET_ASSIGN_OR_RETURN(int32_t axis, normalize_axis(request.axes[i], shape.size()));
    const int64_t dim = shape[static_cast<size_t>(axis)];
    SPARSENET_ASSIGN_OR_RETURN(const SliceRange range, slice_range(request, i, dim));
    if (range.count == dim && range.step == 1) continue;
    if (axis == c.writer().batch_axis(x)) return c.mixes_batch("slices the batch");
    if (range.step < 0) {
      if (dim > kMostIndices) {
        return unsupported("steps: expected 1 or more along " + std::to_string(dim) + " elements");
      }
      std::vector<int64_t> indices;
      for (int64_t k = 0; k < range.count; ++k) indices.push_back(range.start + k * range.step);
      if (indices.empty()) return invalid_model("slice of axis " + std::to_string(axis) + " is empty");
      x = g.gather(x, axis, indices);
      changed = true;
      continue;
    }
    attrs.axes.push_back(axis);
    attrs.starts.push_back(range.start);
    attrs.ends.push_back(std::min(dim, range.start + range.count * range.step));
    attrs.steps.push_back(range.step);
  }
  if (attrs.axes.empty() && !changed && g.ok()) {
    c.alias_output(0, 0);
    return {};
  }
  if (!g.ok() || attrs.axes.empty()) return g.finish(x);
  return c.emit(Op::kSlice, {x}, std::move(attrs));
}

// Whether all elements of a flattened value are taken in their order, each image's its own: so PyTorch writes
// as_strided.
bool takes_all(const NodeContext& c, const Shape& shape, const HostTensor& indices) {
  const int64_t batch = c.state().batch;
  if (shape.size() != 1 || indices.shape.empty() || indices.shape[0] != batch || shape[0] <= batch) return false;
  if (static_cast<int64_t>(indices.size()) != shape[0]) return false;
  for (int64_t i = 0; i < shape[0]; ++i) {
    if (indices.ints[static_cast<size_t>(i)] != i) return false;
  }
  return true;
}

// With constant indices. The indices' own shape takes the place of the axis.
Status import_gather(NodeContext& c) {
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int64_t> indices, c.ints(1, "indices"));
  const Shape index_shape = c.input(1)->constant->shape;
  Compose g(c);
  const ValueId x = g.input(0);
  if (!g.ok()) return g.finish(x);
  const Shape shape = g.shape(x);
  SPARSENET_ASSIGN_OR_RETURN(const int32_t axis, normalize_axis(c.int_attribute("axis", 0), shape.size()));
  if (takes_all(c, shape, *c.input(1)->constant)) return g.finish(g.reshape(x, index_shape));
  if (axis == c.writer().batch_axis(x)) return c.mixes_batch("picks images of the batch");
  const int64_t dim = shape[static_cast<size_t>(axis)];
  for (int64_t& i : indices) {
    if (i < -dim || i >= dim) {
      return invalid_model("indices: expected " + std::to_string(-dim) + " to " + std::to_string(dim - 1) + ", found " +
                           std::to_string(i));
    }
    if (i < 0) i += dim;
  }
  if (indices.empty()) return invalid_model("indices are empty");
  Shape target(shape.begin(), shape.begin() + axis);
  target.insert(target.end(), index_shape.begin(), index_shape.end());
  target.insert(target.end(), shape.begin() + axis + 1, shape.end());
  return g.finish(g.reshape(g.gather(x, axis, indices), target));
}

// Repeats along dimensions of size 1: adds zeros of the new size, which broadcasts.
Status import_expand(NodeContext& c) {
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int64_t> dims, c.ints(1, "shape"));
  Compose g(c);
  const ValueId x = g.input(0);
  if (!g.ok()) return g.finish(x);
  const Shape shape = g.shape(x);
  constexpr size_t kMostDimensions = 8;
  if (dims.size() > kMostDimensions)
    return unsupported("shape: expected at most 8 dimensions, found " + to_string(dims));
  const size_t rank = std::max(dims.size(), shape.size());
  Shape target(rank, 1), zeros(rank, 1);
  bool more = rank > shape.size();
  for (size_t d = 0; d < rank; ++d) {
    const int64_t have = d + shape.size() < rank ? 1 : shape[d + shape.size() - rank];
    const int64_t want = d + dims.size() < rank ? 1 : dims[d + dims.size() - rank];
    if (want < 1 || (have != want && have != 1 && want != 1)) {
      return invalid_model("shape: expected one that " + to_string(shape) + " broadcasts to, found " + to_string(dims));
    }
    target[d] = std::max(have, want);
    if (have == target[d]) continue;
    zeros[d] = target[d];
    more = true;
  }
  if (!more) {
    c.alias_output(0, 0);
    return {};
  }
  const int64_t count = element_count(zeros);
  constexpr int64_t kMostZeros = int64_t{1} << 26;
  if (count < 0 || count > kMostZeros) return unsupported("shape: " + to_string(dims) + " is too large");
  Elements<float> values;
  values.resize(static_cast<size_t>(count), 0.f);
  return g.finish(g.node(Op::kAdd, {x, g.constant(zeros, std::move(values))}));
}

Status import_tile(NodeContext& c) {
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int64_t> repeats, c.ints(1, "repeats"));
  Compose g(c);
  ValueId y = g.input(0);
  if (!g.ok()) return g.finish(y);
  if (repeats.size() != g.shape(y).size()) {
    return invalid_model("repeats: expected one number per dimension of " + to_string(g.shape(y)) + ", found " +
                         to_string(repeats));
  }
  constexpr int64_t kMost = 1024;
  for (size_t d = 0; d < repeats.size(); ++d) {
    if (repeats[d] < 1 || repeats[d] > kMost)
      return unsupported("repeats: expected 1 to 1024, found " + to_string(repeats));
    if (repeats[d] == 1) continue;
    if (static_cast<int32_t>(d) == c.writer().batch_axis(y)) return c.mixes_batch("repeats the batch");
    y = g.node(Op::kConcat, std::vector<ValueId>(static_cast<size_t>(repeats[d]), y),
               AxisAttrs{static_cast<int32_t>(d)});
  }
  return g.finish(y);
}

// The indices that padding an axis reads: mirrored at the ends, repeated at the ends, or from the other end.
Result<std::vector<int64_t>> padded_indices(const std::string& mode, int64_t dim, int64_t before, int64_t after) {
  std::vector<int64_t> indices;
  if (before > kMostIndices || after > kMostIndices || dim > kMostIndices) return unsupported("pads are too large");
  if (mode == "reflect" && dim == 1 && (before > 0 || after > 0)) return invalid_model("pads: nothing to reflect");
  for (int64_t i = -before; i < dim + after; ++i) {
    int64_t at = i;
    if (mode == "edge") {
      at = std::clamp<int64_t>(i, 0, dim - 1);
    } else if (mode == "wrap") {
      at = ((i % dim) + dim) % dim;
    } else if (i < 0 || i >= dim) {
      const int64_t period = 2 * (dim - 1);
      at = ((i % period) + period) % period;
      if (at >= dim) at = period - at;
    }
    indices.push_back(at);
  }
  return indices;
}

// The padding of every dimension: an attribute before opset 11, an input since, and since opset 18 of some axes only.
Status read_pads(NodeContext& c, size_t rank, std::vector<int64_t>* before, std::vector<int64_t>* after) {
  std::vector<int64_t> pads = c.ints_attribute("pads"), axes;
  if (c.has_input(1)) {
    SPARSENET_ASSIGN_OR_RETURN(pads, c.ints(1, "pads"));
  }
  const bool some_axes = c.has_input(3);
  if (some_axes) {
    SPARSENET_ASSIGN_OR_RETURN(axes, c.ints(3, "axes"));
  }
  for (size_t d = 0; !some_axes && d < rank; ++d) axes.push_back(static_cast<int64_t>(d));
  if (pads.size() != 2 * axes.size()) {
    return invalid_model("pads: expected " + std::to_string(2 * axes.size()) + " values, found " +
                         std::to_string(pads.size()));
  }
  before->assign(rank, 0);
  after->assign(rank, 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    SPARSENET_ASSIGN_OR_RETURN(int32_t axis, normalize_axis(axes[i], rank));
    (*before)[static_cast<size_t>(axis)] = pads[i];
    (*after)[static_cast<size_t>(axis)] = pads[i + axes.size()];
  }
  return {};
}

// Negative padding cuts off; it comes first.
Status import_pad(NodeContext& c) {
  const std::string mode = c.string_attribute("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "edge" && mode != "wrap") {
    return unsupported("mode '" + printable(mode) + "': expected constant, reflect, edge or wrap");
  }
  PadAttrs attrs;
  attrs.value = c.float_attribute("value", 0.f);
  if (c.has_input(2)) {
    SPARSENET_ASSIGN_OR_RETURN(attrs.value, c.scalar(2, "value"));
  }
  Compose g(c);
  ValueId x = g.input(0);
  if (!g.ok()) return g.finish(x);
  const Shape shape = g.shape(x);
  SPARSENET_RETURN_IF_ERROR(read_pads(c, shape.size(), &attrs.before, &attrs.after));
  SliceAttrs cut;
  bool any = false;
  for (size_t d = 0; d < shape.size(); ++d) {
    int64_t &before = attrs.before[d], &after = attrs.after[d];
    if (before == 0 && after == 0) continue;
    if (static_cast<int32_t>(d) == c.writer().batch_axis(x)) return c.mixes_batch("pads the batch");
    if (before < -shape[d] || after < -shape[d] ||
        shape[d] + std::min<int64_t>(before, 0) + std::min<int64_t>(after, 0) < 1) {
      return invalid_model("pads: nothing of " + to_string(shape) + " is left");
    }
    if (before < 0 || after < 0) {
      cut.axes.push_back(static_cast<int32_t>(d));
      cut.starts.push_back(std::max<int64_t>(-before, 0));
      cut.ends.push_back(shape[d] + std::min<int64_t>(after, 0));
      cut.steps.push_back(1);
      before = std::max<int64_t>(before, 0);
      after = std::max<int64_t>(after, 0);
    }
    any = any || before > 0 || after > 0;
  }
  if (!any && cut.axes.empty()) {
    c.alias_output(0, 0);
    return {};
  }
  if (!cut.axes.empty()) x = g.node(Op::kSlice, {x}, std::move(cut));
  if (!any) return g.finish(x);
  if (mode == "constant" && (attrs.before[0] > 0 || attrs.after[0] > 0)) {  // dimension 0, which is no batch here
    Shape inside = g.shape(x), target = inside;
    inside.insert(inside.begin(), 1);
    for (size_t d = 0; d < target.size(); ++d) target[d] += attrs.before[d] + attrs.after[d];
    attrs.before.insert(attrs.before.begin(), 0);
    attrs.after.insert(attrs.after.begin(), 0);
    return g.finish(g.reshape(g.node(Op::kPad, {g.reshape(x, inside)}, std::move(attrs)), target));
  }
  if (mode == "constant") return g.ok() ? c.emit(Op::kPad, {x}, std::move(attrs)) : g.finish(x);
  for (size_t d = 0; g.ok() && d < shape.size(); ++d) {
    if (attrs.before[d] == 0 && attrs.after[d] == 0) continue;
    SPARSENET_ASSIGN_OR_RETURN(std::vector<int64_t> indices,
                               padded_indices(mode, g.shape(x)[d], attrs.before[d], attrs.after[d]));
    x = g.gather(x, static_cast<int32_t>(d), indices);
  }
  return g.finish(x);
}

// Moves blocks of pixels to channels, or channels to blocks of pixels.
Status import_blocks(NodeContext& c) {
  const bool to_space = c.op() == "DepthToSpace";
  const int64_t b = c.int_attribute("blocksize", 0);
  const std::string mode = c.string_attribute("mode", "DCR");
  Compose g(c);
  const ValueId x = g.input(0);
  if (!g.ok()) return g.finish(x);
  const Shape s = g.shape(x);
  if (s.size() != 4) return unsupported("input: expected [N, C, H, W], found " + to_string(s));
  const bool fits = b >= 1 && b <= 4096 && (to_space ? s[1] % (b * b) == 0 : s[2] % b == 0 && s[3] % b == 0);
  if (!fits) return invalid_model("blocksize: expected a divisor of " + to_string(s) + ", found " + std::to_string(b));
  if (mode != "DCR" && mode != "CRD") return invalid_model("mode: expected DCR or CRD, found " + printable(mode));
  const bool depth_first = mode == "DCR";
  if (!to_space) {
    const ValueId blocks = g.reshape(x, {s[0], s[1], s[2] / b, b, s[3] / b, b});
    const std::vector<int32_t> perm =
        depth_first ? std::vector<int32_t>{0, 3, 5, 1, 2, 4} : std::vector<int32_t>{0, 1, 3, 5, 2, 4};
    return g.finish(g.reshape(g.transpose(blocks, perm), {s[0], s[1] * b * b, s[2] / b, s[3] / b}));
  }
  const int64_t channels = s[1] / (b * b);
  const Shape split = depth_first ? Shape{s[0], b, b, channels, s[2], s[3]} : Shape{s[0], channels, b, b, s[2], s[3]};
  const std::vector<int32_t> perm =
      depth_first ? std::vector<int32_t>{0, 3, 4, 1, 5, 2} : std::vector<int32_t>{0, 1, 4, 2, 5, 3};
  return g.finish(g.reshape(g.transpose(g.reshape(x, split), perm), {s[0], channels, s[2] * b, s[3] * b}));
}

}  // namespace

NodeImporter find_index_op(const std::string& op) {
  if (op == "Slice") return import_slice;
  if (op == "Gather") return import_gather;
  if (op == "Expand") return import_expand;
  if (op == "Tile") return import_tile;
  if (op == "Pad") return import_pad;
  if (op == "DepthToSpace" || op == "SpaceToDepth") return import_blocks;
  return nullptr;
}

}  // namespace sparsenet::converter

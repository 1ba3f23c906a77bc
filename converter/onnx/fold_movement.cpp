// Constant folding: operators that only move elements.
#include <algorithm>

#include "converter/onnx/fold.h"
#include "converter/onnx/shape_math.h"

namespace sparsenet::converter {
namespace {

const HostTensor& constant(NodeContext& c, size_t i) {
  return *c.input(i)->constant;
}

std::vector<int64_t> strides_of(const Shape& shape) {
  const std::vector<size_t> strides = row_major_strides(shape);
  return {strides.begin(), strides.end()};
}

int64_t product(const Shape& shape, size_t first, size_t last) {
  int64_t count = 1;
  for (size_t d = first; d < last; ++d) count *= shape[d];
  return count;
}

Status finish(NodeContext& c, HostTensor out) {
  out.change = "folded with " + c.op();
  c.set_output(0, std::move(out));
  return {};
}

// The indices of a Gather or ScatterND, counted from the front.
Result<int64_t> index_within(int64_t index, int64_t size) {
  if (index >= -size && index < size) return index < 0 ? index + size : index;
  return invalid_model("index " + std::to_string(index) + " of " + std::to_string(size));
}

Result<Shape> target_shape(NodeContext& c, const Shape& from) {
  if (c.op() == "Reshape") {
    SPARSENET_ASSIGN_OR_RETURN(std::vector<int64_t> dims, c.ints(1, "shape"));
    return reshaped(from, dims, c.int_attribute("allowzero", 0) != 0);
  }
  if (c.op() == "Flatten") return flattened(from, c.int_attribute("axis", 1));
  std::vector<int64_t> axes = c.ints_attribute("axes");
  if (c.has_input(1)) {
    SPARSENET_ASSIGN_OR_RETURN(axes, c.ints(1, "axes"));
  }
  if (c.op() == "Unsqueeze") return unsqueezed(from, axes);
  if (axes.empty()) {
    for (size_t d = 0; d < from.size(); ++d) {
      if (from[d] == 1) axes.push_back(static_cast<int64_t>(d));
    }
  }
  return squeezed(from, axes);
}

}  // namespace

Status fold_reshape(NodeContext& c) {
  const HostTensor& x = constant(c, 0);
  SPARSENET_ASSIGN_OR_RETURN(Shape target, target_shape(c, x.shape));
  HostTensor out = x;  // shares its elements
  // One scale per index needs the axis to stay.
  const IntegerWeights* weights = x.integer_weights();
  const bool one_scale = weights && weights->scales.size() == 1;
  const bool keeps_axis =
      weights && weights->axis == 0 && !x.shape.empty() && !target.empty() && x.shape[0] == target[0];
  if (!one_scale && !keeps_axis) out.weights = nullptr;
  out.shape = std::move(target);
  out.change = "reshaped";
  c.set_output(0, std::move(out));
  return {};
}

Status fold_transpose(NodeContext& c) {
  const HostTensor& x = constant(c, 0);
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int32_t> perm, read_perm(c.ints_attribute("perm"), x.shape.size()));
  c.set_output(0, x.size() == 0 ? HostTensor(x) : transposed(x, perm));
  return {};
}

Status fold_concat(NodeContext& c) {
  const HostTensor& first = constant(c, 0);
  SPARSENET_ASSIGN_OR_RETURN(int32_t normal, normalize_axis(c.int_attribute("axis", 1), first.shape.size()));
  const auto axis = static_cast<size_t>(normal);
  HostTensor out;
  out.type = first.type;
  out.shape = first.shape;
  for (size_t i = 1; i < c.input_count(); ++i) {
    const HostTensor& x = constant(c, i);
    if (x.is_float() != first.is_float()) return invalid_model("operands of different types");
    Shape expected = first.shape;
    if (x.shape.size() == expected.size()) expected[axis] = x.shape[axis];
    if (x.shape != expected) {
      return invalid_model("input " + std::to_string(i) + ": expected the shape of input 0, " + to_string(first.shape) +
                           ", but along axis " + std::to_string(axis) + "; found " + to_string(x.shape));
    }
    out.shape[axis] += x.shape[axis];
    if (out.shape[axis] > kMostFolded) return unsupported("a constant with too many elements");
  }
  SPARSENET_RETURN_IF_ERROR(check_folded(out.shape));
  const int64_t outer = product(out.shape, 0, axis);
  const auto count = static_cast<size_t>(element_count(out.shape));
  (out.is_float() ? out.floats.reserve(count) : out.ints.reserve(count));
  for (int64_t at = 0; at < outer; ++at) {
    for (size_t i = 0; i < c.input_count(); ++i) {
      const HostTensor& x = constant(c, i);
      const int64_t block = product(x.shape, axis, x.shape.size());
      if (block == 0) continue;
      if (x.is_float()) {
        out.floats.append(x.floats.begin() + at * block, x.floats.begin() + (at + 1) * block);
      } else {
        out.ints.append(x.ints.begin() + at * block, x.ints.begin() + (at + 1) * block);
      }
    }
  }
  return finish(c, std::move(out));
}

Status fold_gather(NodeContext& c) {
  const HostTensor& x = constant(c, 0);
  const HostTensor& indices = constant(c, 1);
  if (indices.is_float()) return invalid_model("indices: expected integers, found floats");
  SPARSENET_ASSIGN_OR_RETURN(int32_t normal, normalize_axis(c.int_attribute("axis", 0), x.shape.size()));
  const auto axis = static_cast<size_t>(normal);
  Shape shape(x.shape.begin(), x.shape.begin() + normal);
  shape.insert(shape.end(), indices.shape.begin(), indices.shape.end());
  shape.insert(shape.end(), x.shape.begin() + normal + 1, x.shape.end());
  SPARSENET_RETURN_IF_ERROR(check_folded(shape));
  const int64_t outer = product(x.shape, 0, axis), inner = product(x.shape, axis + 1, x.shape.size());
  Elements<int64_t> places;
  places.resize(indices.size());
  for (size_t i = 0; i < indices.size(); ++i) {
    SPARSENET_ASSIGN_OR_RETURN(const int64_t place, index_within(indices.ints.data()[i], x.shape[axis]));
    places.data()[i] = place;
  }
  HostTensor out;
  out.type = x.type;
  out.source = x.source;
  out.shape = std::move(shape);
  const auto count = static_cast<size_t>(element_count(out.shape));
  (x.is_float() ? out.floats.resize(count) : out.ints.resize(count));
  if (count == 0) return finish(c, std::move(out));
  const Elements<int64_t>& place = places;
  float* floats = x.is_float() ? out.floats.data() : nullptr;
  int64_t* ints = x.is_float() ? nullptr : out.ints.data();
  for (int64_t at = 0; at < outer; ++at) {
    for (size_t i = 0; i < indices.size(); ++i) {
      const int64_t from = (at * x.shape[axis] + place[i]) * inner;
      if (floats) {
        floats = std::copy_n(x.floats.data() + from, inner, floats);
      } else {
        ints = std::copy_n(x.ints.data() + from, inner, ints);
      }
    }
  }
  return finish(c, std::move(out));
}

Status fold_slice(NodeContext& c) {
  const HostTensor& x = constant(c, 0);
  SliceRequest request;
  SPARSENET_RETURN_IF_ERROR(read_slice(c, &request));
  Shape shape = x.shape;
  std::vector<int64_t> steps = strides_of(x.shape);
  int64_t start = 0;
  std::vector<bool> seen(x.shape.size(), false);
  for (size_t i = 0; i < request.axes.size(); ++i) {
    SPARSENET_ASSIGN_OR_RETURN(int32_t normal, normalize_axis(request.axes[i], x.shape.size()));
    const auto axis = static_cast<size_t>(normal);
    if (seen[axis]) return invalid_model("axes: one is listed twice");
    seen[axis] = true;
    SPARSENET_ASSIGN_OR_RETURN(SliceRange range, slice_range(request, i, x.shape[axis]));
    shape[axis] = range.count;
    start += range.start * steps[axis];
    steps[axis] *= range.step;
  }
  return finish(c, picked(x, shape, Walk(shape, steps, start)));
}

Status fold_split(NodeContext& c) {
  const HostTensor& x = constant(c, 0);
  SPARSENET_ASSIGN_OR_RETURN(int32_t normal, normalize_axis(c.int_attribute("axis", 0), x.shape.size()));
  const auto axis = static_cast<size_t>(normal);
  std::vector<int64_t> sizes = c.ints_attribute("split");
  if (c.has_input(1)) {
    SPARSENET_ASSIGN_OR_RETURN(sizes, c.ints(1, "split"));
  }
  const int64_t dim = x.shape[axis];
  const auto parts = static_cast<int64_t>(c.output_count());
  if (sizes.empty()) {
    const int64_t part = (dim + parts - 1) / parts;
    for (int64_t i = 0; i < parts; ++i) sizes.push_back(std::clamp<int64_t>(dim - i * part, 0, part));
  }
  int64_t sum = 0;
  for (const int64_t size : sizes) sum += size < 0 || size > dim ? dim + 1 : size;
  if (sum != dim || static_cast<int64_t>(sizes.size()) != parts) {
    return invalid_model("split: expected " + std::to_string(parts) + " sizes whose sum is " + std::to_string(dim) +
                         ", found " + to_string(sizes));
  }
  const std::vector<int64_t> steps = strides_of(x.shape);
  int64_t start = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    Shape shape = x.shape;
    shape[axis] = sizes[i];
    HostTensor out = picked(x, shape, Walk(shape, steps, start * steps[axis]));
    out.change = "folded with Split";
    c.set_output(i, std::move(out));
    start += sizes[i];
  }
  return {};
}

Status fold_expand(NodeContext& c) {
  const HostTensor& x = constant(c, 0);
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int64_t> dims, c.ints(1, "shape"));
  SPARSENET_ASSIGN_OR_RETURN(Shape shape, broadcast_shape(x.shape, dims));
  SPARSENET_RETURN_IF_ERROR(check_folded(shape));
  return finish(c, picked(x, shape, Walk(shape, broadcast_steps(x.shape, shape))));
}

Status fold_tile(NodeContext& c) {
  const HostTensor& x = constant(c, 0);
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int64_t> repeats, c.ints(1, "repeats"));
  if (repeats.size() != x.shape.size()) {
    return invalid_model("repeats: expected " + std::to_string(x.shape.size()) + " numbers, found " +
                         to_string(repeats));
  }
  // Every dimension is walked through `repeats` times: two dimensions, the outer one of which stays where it is.
  Shape twice, shape;
  std::vector<int64_t> steps;
  const std::vector<int64_t> strides = strides_of(x.shape);
  for (size_t d = 0; d < repeats.size(); ++d) {
    if (repeats[d] < 0 || repeats[d] > kMostFolded) return invalid_model("repeats: found " + to_string(repeats));
    twice.insert(twice.end(), {repeats[d], x.shape[d]});
    steps.insert(steps.end(), {0, strides[d]});
    shape.push_back(repeats[d] * x.shape[d]);
  }
  SPARSENET_RETURN_IF_ERROR(check_folded(shape));
  HostTensor out = picked(x, twice, Walk(twice, steps));
  out.shape = shape;
  return finish(c, std::move(out));
}

Status fold_scatter_nd(NodeContext& c) {
  const HostTensor& x = constant(c, 0);
  const HostTensor& indices = constant(c, 1);
  const HostTensor& updates = constant(c, 2);
  if (c.string_attribute("reduction", "none") != "none") return unsupported("reduction: expected none");
  if (indices.is_float() || indices.shape.empty()) return invalid_model("indices: expected integers");
  if (updates.is_float() != x.is_float()) return invalid_model("operands of different types");
  const auto depth = static_cast<size_t>(indices.shape.back());
  if (depth > x.shape.size())
    return invalid_model("indices: more than the " + std::to_string(x.shape.size()) + " axes");
  Shape expected(indices.shape.begin(), indices.shape.end() - 1);
  expected.insert(expected.end(), x.shape.begin() + static_cast<int64_t>(depth), x.shape.end());
  if (updates.shape != expected) {
    return invalid_model("updates: expected " + to_string(expected) + ", found " + to_string(updates.shape));
  }
  HostTensor out = x;
  const int64_t inner = product(x.shape, depth, x.shape.size());
  if (inner == 0 || updates.size() == 0) return finish(c, std::move(out));
  const std::vector<int64_t> strides = strides_of(x.shape);
  const size_t count = updates.size() / static_cast<size_t>(inner);
  for (size_t i = 0; i < count; ++i) {
    int64_t to = 0;
    for (size_t d = 0; d < depth; ++d) {
      SPARSENET_ASSIGN_OR_RETURN(const int64_t at, index_within(indices.ints.data()[i * depth + d], x.shape[d]));
      to += at * strides[d];
    }
    const int64_t from = static_cast<int64_t>(i) * inner;
    if (x.is_float()) {
      std::copy_n(updates.floats.data() + from, inner, out.floats.data() + to);
    } else {
      std::copy_n(updates.ints.data() + from, inner, out.ints.data() + to);
    }
  }
  return finish(c, std::move(out));
}

namespace {

// The constant padding of a Pad node, per dimension: before and after.
Status read_pads(NodeContext& c, size_t rank, Shape* before, Shape* after) {
  std::vector<int64_t> pads = c.ints_attribute("pads"), axes;
  if (c.has_input(1)) {
    SPARSENET_ASSIGN_OR_RETURN(pads, c.ints(1, "pads"));
  }
  for (size_t d = 0; d < rank && !c.has_input(3); ++d) axes.push_back(static_cast<int64_t>(d));
  if (c.has_input(3)) {
    SPARSENET_ASSIGN_OR_RETURN(axes, c.ints(3, "axes"));
  }
  if (pads.size() != 2 * axes.size()) {
    return invalid_model("pads: expected " + std::to_string(2 * axes.size()) + " values, found " +
                         std::to_string(pads.size()));
  }
  before->assign(rank, 0);
  after->assign(rank, 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    SPARSENET_ASSIGN_OR_RETURN(const int32_t axis, normalize_axis(axes[i], rank));
    for (const int64_t pad : {pads[i], pads[i + axes.size()]}) {
      if (pad < 0 || pad > kMostFolded) return unsupported("pads: found " + to_string(pads));
    }
    (*before)[static_cast<size_t>(axis)] = pads[i];
    (*after)[static_cast<size_t>(axis)] = pads[i + axes.size()];
  }
  return {};
}

}  // namespace

Status fold_pad(NodeContext& c) {
  const HostTensor& x = constant(c, 0);
  if (c.string_attribute("mode", "constant") != "constant") return unsupported("mode: expected constant");
  Shape before, after;
  SPARSENET_RETURN_IF_ERROR(read_pads(c, x.shape.size(), &before, &after));
  HostTensor out = x;
  for (size_t d = 0; d < before.size(); ++d) out.shape[d] += before[d] + after[d];
  SPARSENET_RETURN_IF_ERROR(check_folded(out.shape));
  const auto count = static_cast<size_t>(element_count(out.shape));
  const HostTensor* value = c.has_input(2) ? &constant(c, 2) : nullptr;
  if (value && (value->size() != 1 || value->is_float() != x.is_float())) {
    return invalid_model("value: expected one number of the input's type");
  }
  const float filler = value && x.is_float() ? value->floats.data()[0] : c.float_attribute("value", 0.f);
  if (x.is_float()) out.floats.assign(count, filler);
  if (!x.is_float()) out.ints.assign(count, value ? value->ints.data()[0] : 0);
  const std::vector<int64_t> steps = strides_of(out.shape);
  int64_t start = 0;
  for (size_t d = 0; d < before.size(); ++d) start += before[d] * steps[d];
  Walk to(x.shape, steps, start);
  float* floats = x.is_float() && count > 0 ? out.floats.data() : nullptr;
  int64_t* ints = x.is_float() || count == 0 ? nullptr : out.ints.data();
  for (size_t i = 0; i < x.size(); ++i, to.next()) {
    if (floats) floats[to.at()] = x.floats.data()[i];
    if (ints) ints[to.at()] = x.ints.data()[i];
  }
  return finish(c, std::move(out));
}

Status fold_non_zero(NodeContext& c) {
  const HostTensor& x = constant(c, 0);
  const size_t rank = x.shape.size();
  std::vector<Elements<int64_t>> places(rank);
  std::vector<int64_t> index(rank, 0);
  int64_t count = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (x.is_float() ? x.floats.data()[i] != 0.f : x.ints.data()[i] != 0) {
      ++count;
      for (size_t d = 0; d < rank; ++d) places[d].push_back(index[d]);
    }
    for (size_t d = rank; d-- > 0;) {
      if (++index[d] < x.shape[d]) break;
      index[d] = 0;
    }
  }
  Elements<int64_t> all;
  for (const Elements<int64_t>& list : places) all.append(list.begin(), list.end());
  return finish(c, folded_integers({static_cast<int64_t>(rank), count}, std::move(all)));
}

}  // namespace sparsenet::converter

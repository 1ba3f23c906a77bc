// Lowering of ops that move data. Most become views; the others become copies that walk an index space with strides.
#include <algorithm>
#include <utility>

#include "graph/ops.h"
#include "plan/lower.h"
#include "plan/multiplier.h"

namespace sparsenet {
namespace {

bool is_image(const Shape& s) {
  return s.size() == 4;
}

std::vector<int64_t> row_major(const Shape& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

}  // namespace

// The distance in elements between neighbours along each logical dimension of a dense value.
std::vector<int64_t> Lowering::physical_strides(const Shape& s, const Lowered& v) const {
  if (s.size() == 4 && !v.rows) {
    const int64_t pixel = v.pieces[0].pixel_stride;
    return {int64_t{v.h} * v.w * pixel, 1, v.w * pixel, pixel};
  }
  return row_major(s);
}

Status Lowering::strided_copy(const Node& node, const Lowered& from, const Lowered& to, const rt::Strided& st) {
  Draft draft = start(node, rt::StepOp::kStridedCopy);
  draft.step.is_copy = true;
  draft.in = from;
  draft.out = to;
  plan_.strided.push_back(st);
  draft.step.strided = &plan_.strided.back();
  finish(std::move(draft));
  return {};
}

template <class Adjust>
Status Lowering::lower_copy(const Node& node, const Shape& dims, Adjust adjust) {
  const Shape& s = shape(node.inputs[0]);
  if (s.size() > rt::kMaxDims) return unsupported(describe(node) + ": expected at most rank 8, found " + to_string(s));
  SPARSENET_ASSIGN_OR_RETURN(Lowered in, dense(node.inputs[0], node));
  const Lowered out = new_value(node.outputs[0]);
  const std::vector<int64_t> from = physical_strides(s, in), to = physical_strides(shape(node.outputs[0]), out);
  rt::Strided st{};
  st.rank = static_cast<int32_t>(dims.size());
  for (size_t d = 0; d < dims.size(); ++d) {
    st.dims[d] = dims[d];
    st.out_strides[d] = to[d];
    st.in_strides[0][d] = from[d];
  }
  adjust(from, to, &st);
  SPARSENET_RETURN_IF_ERROR(strided_copy(node, in, out, st));
  values_[static_cast<size_t>(node.outputs[0])] = out;
  return {};
}

Status Lowering::lower_concat(const Node& node) {
  const auto axis = static_cast<size_t>(std::get<AxisAttrs>(node.attrs).axis);
  const Shape& out_shape = shape(node.outputs[0]);
  Lowered out = frame(node.outputs[0]);
  if (has_channels(out_shape) && axis == 1) {
    bool views = true;
    for (ValueId id : node.inputs) {
      SPARSENET_ASSIGN_OR_RETURN(Lowered v, value(id));
      for (const Piece& piece : v.pieces) out.pieces.push_back(piece);
      views = views && v.pixels() == out.pixels();
    }
    if (views) {
      values_[static_cast<size_t>(node.outputs[0])] = std::move(out);
      return {};
    }
  }
  if (out_shape.size() > rt::kMaxDims)
    return unsupported(describe(node) + ": expected at most rank 8, found " + to_string(out_shape));
  // Each operand is copied into its place.
  std::vector<Lowered> operands;
  for (ValueId id : node.inputs) {
    SPARSENET_ASSIGN_OR_RETURN(Lowered v, dense(id, node));
    operands.push_back(v);
  }
  out = new_value(node.outputs[0]);
  const std::vector<int64_t> to = physical_strides(out_shape, out);
  int64_t at = 0;
  for (size_t i = 0; i < operands.size(); ++i) {
    const Shape& s = shape(node.inputs[i]);
    const std::vector<int64_t> from = physical_strides(s, operands[i]);
    rt::Strided st{};
    st.rank = static_cast<int32_t>(s.size());
    for (size_t d = 0; d < s.size(); ++d) {
      st.dims[d] = s[d];
      st.out_strides[d] = to[d];
      st.in_strides[0][d] = from[d];
    }
    st.out_start = at * to[axis];
    at += s[axis];
    SPARSENET_RETURN_IF_ERROR(strided_copy(node, operands[i], out, st));
  }
  values_[static_cast<size_t>(node.outputs[0])] = out;
  return {};
}

Status Lowering::lower_split(const Node& node) {
  const auto& a = std::get<SplitAttrs>(node.attrs);
  int64_t begin = 0;
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    // A split is lowered as one slice per output.
    Node slice;
    slice.op = Op::kSlice;
    slice.name = node.name;
    slice.inputs = node.inputs;
    slice.outputs = {node.outputs[i]};
    slice.attrs = SliceAttrs{{a.axis}, {begin}, {begin + a.sizes[i]}, {1}};
    SPARSENET_RETURN_IF_ERROR(lower_slice(slice));
    begin += a.sizes[i];
  }
  return {};
}

Status Lowering::lower_slice(const Node& node) {
  const auto& a = std::get<SliceAttrs>(node.attrs);
  const Shape& s = shape(node.inputs[0]);
  Shape start_at(s.size(), 0), step(s.size(), 1), length = shape(node.outputs[0]);
  for (size_t i = 0; i < a.axes.size(); ++i) {
    start_at[static_cast<size_t>(a.axes[i])] = a.starts[i];
    step[static_cast<size_t>(a.axes[i])] = a.steps[i];
  }
  const bool batch_whole = s.size() > 1 && start_at[0] == 0 && length[0] == s[0];
  if (has_channels(s) && batch_whole && step[1] == 1) {
    SPARSENET_ASSIGN_OR_RETURN(Lowered in, value(node.inputs[0]));
    Lowered range = channel_range(in, start_at[1], start_at[1] + length[1]);
    if (s.size() == 2 || (length[2] == s[2] && length[3] == s[3])) {
      values_[static_cast<size_t>(node.outputs[0])] = std::move(range);
      return {};
    }
    // A range of rows and columns is pooling with a 1x1 window, which begins at the start of the range.
    Draft draft = start(node, rt::StepOp::kPool);
    draft.step.is_copy = step[2] == 1 && step[3] == 1;
    draft.step.pool.max = true;
    draft.step.window.stride_h = static_cast<int32_t>(step[2]);
    draft.step.window.stride_w = static_cast<int32_t>(step[3]);
    draft.step.window.pad_top = -static_cast<int32_t>(start_at[2]);
    draft.step.window.pad_left = -static_cast<int32_t>(start_at[3]);
    draft.in = std::move(range);
    draft.out = new_value(node.outputs[0]);
    values_[static_cast<size_t>(node.outputs[0])] = draft.out;
    finish(std::move(draft));
    return {};
  }
  return lower_copy(node, length, [&](const auto& from, const auto&, rt::Strided* st) {
    for (size_t d = 0; d < from.size(); ++d) {
      st->in_strides[0][d] = from[d] * step[d];
      st->in_start[0] += from[d] * start_at[d];
    }
  });
}

Status Lowering::lower_pad(const Node& node) {
  const auto& a = std::get<PadAttrs>(node.attrs);
  const Shape& s = shape(node.inputs[0]);
  bool channels_only = has_channels(s) && !quant_;
  for (size_t d = 0; d < s.size(); ++d)
    channels_only = channels_only && (d == 1 || (a.before[d] == 0 && a.after[d] == 0));
  if (channels_only) {
    // Constant channels are a view of one constant vector, the same at every pixel.
    SPARSENET_ASSIGN_OR_RETURN(Lowered in, value(node.inputs[0]));
    Lowered out = frame(node.outputs[0]);
    auto add = [&](int64_t count) {
      if (count == 0) return;
      plan_.constants.emplace_back(static_cast<size_t>(count), a.value);
      out.pieces.push_back({-1, 0, plan_.constants.back().data(), static_cast<int32_t>(count), 0});
    };
    add(a.before[1]);
    out.pieces.insert(out.pieces.end(), in.pieces.begin(), in.pieces.end());
    add(a.after[1]);
    values_[static_cast<size_t>(node.outputs[0])] = std::move(out);
    return {};
  }
  return lower_copy(node, s, [&](const auto&, const auto& to, rt::Strided* st) {
    for (size_t d = 0; d < to.size(); ++d) st->out_start += to[d] * a.before[d];
    st->fill_first = true;
    st->fill_value = quant_ ? static_cast<float>(integer_of(a.value, graph_.value(node.inputs[0]))) : a.value;
    st->out_elements = element_count(shape(node.outputs[0]));
  });
}

// Copies an image value to row-major order of its logical shape (to_rows), or row-major data to an image value.
Status Lowering::reorder(const Node& node, const Lowered& from, const Shape& image, bool to_rows, Lowered* out) {
  Lowered pixels;
  pixels.n = static_cast<int32_t>(image[0]);
  pixels.c = static_cast<int32_t>(image[1]);
  pixels.h = static_cast<int32_t>(image[2]);
  pixels.w = static_cast<int32_t>(image[3]);
  pixels.pieces = {{0, 0, nullptr, pixels.c, pixels.c}};
  const std::vector<int64_t> of_pixels = physical_strides(image, pixels), of_rows = row_major(image);
  rt::Strided st{};
  st.rank = 4;
  for (size_t d = 0; d < 4; ++d) {
    st.dims[d] = image[d];
    st.out_strides[d] = to_rows ? of_rows[d] : of_pixels[d];
    st.in_strides[0][d] = to_rows ? of_pixels[d] : of_rows[d];
  }
  return strided_copy(node, from, *out, st);
}

Status Lowering::lower_reshape(const Node& node) {
  const Shape& s = shape(node.inputs[0]);
  const Shape& t = shape(node.outputs[0]);
  auto& result = values_[static_cast<size_t>(node.outputs[0])];
  auto channels = [](const Shape& x) { return x[1]; };
  auto one_pixel = [](const Shape& x) { return x.size() == 2 || (x.size() == 4 && x[2] == 1 && x[3] == 1); };
  const bool vectors =
      has_channels(s) && has_channels(t) && one_pixel(s) && one_pixel(t) && s[0] == t[0] && channels(s) == channels(t);
  const bool from_rows = rows_[static_cast<size_t>(node.inputs[0])],
             to_rows = rows_[static_cast<size_t>(node.outputs[0])];
  if ((s == t && from_rows == to_rows) || (vectors && !from_rows && !to_rows)) {
    SPARSENET_ASSIGN_OR_RETURN(Lowered in, value(node.inputs[0]));
    result = in;  // n x 1 x 1 x c in both shapes
    return {};
  }
  SPARSENET_ASSIGN_OR_RETURN(Lowered in, dense(node.inputs[0], node));
  // Pixel order and row-major order are the same for one pixel and for one channel.
  auto rows_already = [](const Shape& x, bool rows) { return rows || !is_image(x) || x[2] * x[3] == 1 || x[1] == 1; };
  Lowered rows = in;
  if (!rows_already(s, from_rows)) {
    VirtualBuffer buffer;
    buffer.name = graph_.value(node.outputs[0]).name;
    buffer.bytes = static_cast<size_t>(element_count(s)) * size_of(in.type);
    buffer.first = buffer.last = static_cast<int>(drafts_.size());
    rows = frame(node.inputs[0]);
    rows.pieces = {{static_cast<int>(buffers_.size()), 0, nullptr, rows.c, rows.c}};
    buffers_.push_back(std::move(buffer));
    SPARSENET_RETURN_IF_ERROR(reorder(node, in, s, true, &rows));
  }
  if (rows_already(t, to_rows)) {
    Lowered out = frame(node.outputs[0]);
    out.pieces = {{rows.pieces[0].buffer, rows.pieces[0].start, rows.pieces[0].constant, out.c, out.c}};
    result = std::move(out);
    return {};
  }
  Lowered out = new_value(node.outputs[0]);
  SPARSENET_RETURN_IF_ERROR(reorder(node, rows, t, false, &out));
  result = std::move(out);
  return {};
}

Status Lowering::lower_transpose(const Node& node) {
  const auto& perm = std::get<TransposeAttrs>(node.attrs).perm;
  bool identity = true;
  for (size_t i = 0; i < perm.size(); ++i) identity = identity && perm[i] == static_cast<int32_t>(i);
  if (identity && rows_[static_cast<size_t>(node.inputs[0])] == rows_[static_cast<size_t>(node.outputs[0])]) {
    SPARSENET_ASSIGN_OR_RETURN(Lowered in, value(node.inputs[0]));
    values_[static_cast<size_t>(node.outputs[0])] = in;
    return {};
  }
  return lower_copy(node, shape(node.outputs[0]), [&](const auto& from, const auto&, rt::Strided* st) {
    for (size_t d = 0; d < perm.size(); ++d) st->in_strides[0][d] = from[static_cast<size_t>(perm[d])];
  });
}

}  // namespace sparsenet

#include "converter/onnx/compose.h"

#include <algorithm>
#include <limits>

#include "converter/onnx/layer_norm.h"

namespace sparsenet::converter {
namespace {

constexpr size_t kMostPieces = 1024;
constexpr int64_t kMostWindow = 1 << 12;

// The Transpose or Reshape that makes input i for this node alone, if any. It does not count if it moves an input of
// the network.
const Node* move_before(NodeContext& c, size_t i, ValueId x) {
  const Node* maker = c.writer().maker(x);
  if (!maker || (maker->op != Op::kTranspose && maker->op != Op::kReshape)) return nullptr;
  const bool alone = c.state().uses[c.input_name(i)] == 1 && c.writer().maker(maker->inputs[0]);
  return alone ? maker : nullptr;
}

// `y` moved as `move` has moved what became `like`.
ValueId moved(Compose* g, ValueId y, const Node& move, ValueId like) {
  if (move.op == Op::kReshape) return g->reshape(y, g->shape(like));
  return g->transpose(y, std::vector<int32_t>(std::get<TransposeAttrs>(move.attrs).perm));
}

// The shape with which a constant is the second operand in front of the move: one number, or one per channel. Empty if
// it cannot be.
Shape shape_before(const HostTensor& constant, const Node& move, const Shape& source, const Shape& target) {
  if (constant.size() == 1) return {1};
  if (constant.shape.empty() || constant.shape.size() > target.size() || target.empty()) return {};
  const int64_t channels = target.back();
  if (constant.shape.back() != channels || constant.size() != static_cast<size_t>(channels)) return {};
  if (is_channels_last(&move)) return {channels, 1, 1};
  return move.op == Op::kReshape && source.size() == 2 && source[1] == channels ? Shape{channels} : Shape{};
}

}  // namespace

Status emit_elementwise(NodeContext& c, Op op, Attrs attrs) {
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  const Node* found = move_before(c, 0, x);
  if (!found) return c.emit(op, {x}, std::move(attrs));
  const Node move = *found;
  Compose g(c);
  return g.finish(moved(&g, g.node(op, {move.inputs[0]}, std::move(attrs)), move, x));
}

namespace {

// An operand that a LayerNorm makes and that takes the other one, a constant, as its scale or shift. kNoValue: none.
ValueId into_layer_norm(NodeContext& c, Compose* g, Op op) {
  for (size_t i = 0; i < 2; ++i) {
    const OnnxValue *x = c.input(i), *other = c.input(1 - i);
    if (!x || x->id == kNoValue || x->constant || !other || !other->constant) continue;
    const HostTensorPtr tensor = other->constant;
    const ValueId y = layer_norm_with(c, g, op, x->id, *tensor);
    if (y != kNoValue) return y;
  }
  return kNoValue;
}

}  // namespace

Status emit_arithmetic(NodeContext& c, Op op) {
  Compose norm(c);
  if (const ValueId y = into_layer_norm(c, &norm, op); y != kNoValue) return norm.finish(y);
  for (size_t i = 0; i < 2; ++i) {
    const OnnxValue *x = c.input(i), *other = c.input(1 - i);
    if (!x || x->id == kNoValue || x->constant || !other || !other->constant || !other->constant->is_float()) continue;
    const ValueId id = x->id;
    const Node* found = move_before(c, i, id);
    if (!found) continue;
    const Node move = *found;
    Compose g(c);
    const HostTensorPtr tensor = other->constant;
    const Shape shape = shape_before(*tensor, move, g.shape(move.inputs[0]), g.shape(id));
    if (shape.empty()) continue;
    HostTensor parameter = *tensor;
    parameter.shape = shape;
    if (const ValueId y = layer_norm_with(c, &g, op, move.inputs[0], parameter); y != kNoValue) {
      return g.finish(moved(&g, y, move, id));
    }
    const ValueId constant =
        c.add_constant(*tensor, shape, tensor->floats, tensor->change.empty() ? "initializer" : tensor->change);
    const std::vector<ValueId> operands{i == 0 ? move.inputs[0] : constant, i == 0 ? constant : move.inputs[0]};
    return g.finish(moved(&g, g.node(op, operands), move, id));
  }
  SPARSENET_ASSIGN_OR_RETURN(ValueId a, c.value(0));
  SPARSENET_ASSIGN_OR_RETURN(ValueId b, c.value(1));
  if (const ValueId y = recognised_layer_norm(c, &norm, op, a, b); y != kNoValue) return norm.finish(y);
  const Node *left = move_before(c, 0, a), *right = move_before(c, 1, b);
  if (left && right && is_channels_last(left) && is_channels_last(right)) {
    const ValueId u = left->inputs[0], v = right->inputs[0];
    Compose g(c);
    return g.finish(g.transpose(g.node(op, {u, v}), kChannelsLast));
  }
  return c.emit(op, {a, b});
}

ValueId Compose::take(Result<ValueId> made) {
  if (made.ok()) return *made;
  fail(made.status());
  return kNoValue;
}

ValueId Compose::input(size_t i) {
  return ok() ? take(c_.value(i)) : kNoValue;
}

ValueId Compose::node(Op op, const std::vector<ValueId>& inputs, Attrs attrs) {
  if (!ok()) return kNoValue;
  return take(c_.writer().node(op, c_.name(), inputs, std::move(attrs), c_.name() + "." + sparsenet::name(op)));
}

ValueId Compose::constant(Shape shape, Elements<float> values) {
  if (!ok()) return kNoValue;
  return c_.writer().constant(c_.name() + ".constant", values.tensor(std::move(shape)));
}

ValueId Compose::reshape(ValueId x, const Shape& target) {
  return ok() ? take(c_.writer().reshape(c_.name(), x, target, c_.name() + ".reshape")) : kNoValue;
}

ValueId Compose::transpose(ValueId x, const std::vector<int32_t>& perm) {
  return ok() ? take(c_.writer().transpose(c_.name(), x, perm, c_.name() + ".transpose")) : kNoValue;
}

ValueId Compose::gather(ValueId x, int32_t axis, const std::vector<int64_t>& indices) {
  if (!ok()) return kNoValue;
  std::vector<ValueId> pieces;
  for (size_t i = 0; i < indices.size();) {
    // The longest run of indices with one step.
    const int64_t step = i + 1 < indices.size() ? indices[i + 1] - indices[i] : 1;
    size_t end = i + 1;
    if (step >= 1) {
      while (end < indices.size() && indices[end] - indices[end - 1] == step) ++end;
    }
    if (end == i + 2 && step > 1) end = i + 1;
    if (pieces.size() == kMostPieces) {
      fail(unsupported("indices: expected at most " + std::to_string(kMostPieces) + " runs of equal steps"));
      return kNoValue;
    }
    const bool all = indices[i] == 0 && static_cast<int64_t>(end - i) == shape(x)[static_cast<size_t>(axis)];
    SliceAttrs slice{{axis}, {indices[i]}, {indices[end - 1] + 1}, {end == i + 1 ? 1 : step}};
    pieces.push_back(all ? x : node(Op::kSlice, {x}, std::move(slice)));
    if (!ok()) return kNoValue;
    i = end;
  }
  return pieces.size() == 1 ? pieces[0] : node(Op::kConcat, pieces, AxisAttrs{axis});
}

ValueId Compose::maximum(ValueId x, const std::vector<int32_t>& axes) {
  if (!ok()) return kNoValue;
  const Shape s = shape(x);
  Shape kept = s;
  std::vector<int32_t> perm;
  int64_t inner = 1, outer = 1;
  for (int32_t d = 0; d < static_cast<int32_t>(s.size()); ++d) {
    if (!std::binary_search(axes.begin(), axes.end(), d)) perm.push_back(d);
  }
  for (const int32_t axis : axes) {
    inner *= s[static_cast<size_t>(axis)];
    kept[static_cast<size_t>(axis)] = 1;
    perm.push_back(axis);
  }
  const auto pool = [&](ValueId image, int64_t height, int64_t width, bool whole) {
    PoolAttrs attrs;
    attrs.kernel = {static_cast<int32_t>(height), static_cast<int32_t>(width)};
    if (!whole) attrs.stride = attrs.kernel;
    attrs.ceil_mode = !whole;
    return node(Op::kMaxPool, {image}, attrs);
  };
  if (s.size() == 4 && axes == std::vector<int32_t>{2, 3} && s[2] <= kMostWindow && s[3] <= kMostWindow) {
    return pool(x, s[2], s[3], true);
  }
  if (axes[0] == 0) {  // also over dimension 0, which is no batch then
    Shape inside = s;
    inside.insert(inside.begin(), 1);
    std::vector<int32_t> behind;
    for (const int32_t axis : axes) behind.push_back(axis + 1);
    return reshape(maximum(reshape(x, inside), behind), kept);
  }
  for (size_t d = 1; d < s.size(); ++d) outer *= kept[d];
  ValueId rows = reshape(transpose(x, perm), {s[0], 1, outer, inner});
  for (; inner > kMostWindow; inner = (inner + kMostWindow - 1) / kMostWindow) rows = pool(rows, 1, kMostWindow, false);
  return reshape(pool(rows, 1, inner, true), kept);
}

ValueId Compose::mean(ValueId x, const std::vector<int32_t>& axes) {
  if (shape(x).size() == 4 && axes == std::vector<int32_t>{2, 3}) return node(Op::kGlobalAveragePool, {x});
  return node(Op::kReduceMean, {x}, ReduceAttrs{axes, true});
}

ValueId Compose::sum(ValueId x, const std::vector<int32_t>& axes) {
  const Shape s = shape(x);
  double count = 1;
  for (const int32_t axis : axes) count *= ok() ? static_cast<double>(s[static_cast<size_t>(axis)]) : 1;
  return scaled(mean(x, axes), static_cast<float>(count));
}

ValueId Compose::clip(ValueId x, float low, float high) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  if (!ok()) return kNoValue;
  low = std::max(low, -kLargest);
  high = std::min(high, kLargest);
  const Node* before = c_.writer().maker(x);
  if (before && (before->op == Op::kRelu || before->op == Op::kClip)) {
    const auto* bounds = std::get_if<ClipAttrs>(&before->attrs);
    const float first_low = bounds ? bounds->low : 0.f, first_high = bounds ? bounds->high : kLargest;
    low = std::clamp(first_low, low, high);
    high = std::clamp(first_high, low, high);
    x = before->inputs[0];
  }
  if (low == -kLargest && high == kLargest) return x;
  if (low == 0.f && high == kLargest) return node(Op::kRelu, {x});
  return node(Op::kClip, {x}, ClipAttrs{low, high});
}

Status Compose::finish(ValueId y) {
  if (!ok()) return status_;
  if (c_.writer().graph.value(y).is_constant) {
    SPARSENET_ASSIGN_OR_RETURN(y, c_.writer().node(Op::kIdentity, c_.name(), {y}, NoAttrs{}, c_.output_name(0)));
  }
  c_.set_output(0, y);
  return {};
}

}  // namespace sparsenet::converter

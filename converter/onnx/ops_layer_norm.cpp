// LayerNormalization, and the same written as arithmetic: (x - mean) / sqrt(mean of squares + epsilon), then scale and
// shift. Before opset 17 exporters had no other way.
#include <algorithm>
#include <optional>

#include "converter/onnx/compose.h"
#include "converter/onnx/layer_norm.h"

namespace sparsenet::converter {

ValueId normalized(Compose* g, ValueId x, int32_t axis, const LayerNormParameters& p) {
  const Shape shape = g->shape(x);
  int64_t length = 1, tokens = 1;
  for (size_t d = static_cast<size_t>(axis); d < shape.size(); ++d) length *= shape[d];
  for (size_t d = 1; d < static_cast<size_t>(axis); ++d) tokens *= shape[d];
  const Shape rows = axis == 0   ? Shape{1, length}
                     : axis == 1 ? Shape{shape[0], length}
                                 : Shape{shape[0], tokens, length};
  const ValueId y = g->node(Op::kLayerNorm, {g->reshape(x, rows), p.scale, p.shift}, BatchNormAttrs{p.epsilon});
  return g->reshape(y, shape);
}

namespace {

class Pattern {
 public:
  explicit Pattern(GraphWriter* writer) : writer_(*writer) {}

  struct Found {
    ValueId x = kNoValue;
    std::vector<int32_t> axes;
    float epsilon = 0;
  };

  // Whether `difference` over or times `scale` is a normalised value.
  std::optional<Found> find(Op op, ValueId difference, ValueId scale) const {
    const Node* centred = made_by(difference, Op::kSub);
    if (!centred) return std::nullopt;
    Found found;
    found.x = centred->inputs[0];
    const std::optional<std::vector<int32_t>> axes = mean_axes(centred->inputs[1], found.x);
    const ValueId sum = root(scale, op == Op::kDiv);
    if (!axes || sum == kNoValue) return std::nullopt;
    const Node* added = made_by(sum, Op::kAdd);
    for (size_t i = 0; added && i < 2; ++i) {
      const std::optional<float> epsilon = number(added->inputs[i]);
      if (!epsilon || !(*epsilon >= 0.f)) continue;
      found.epsilon = *epsilon;
      found.axes = *axes;
      if (is_variance(added->inputs[1 - i], *centred, difference, *axes)) return found;
    }
    return std::nullopt;
  }

 private:
  const Node* made_by(ValueId id, Op op) const {
    const Node* node = id == kNoValue ? nullptr : writer_.maker(id);
    return node && node->op == op ? node : nullptr;
  }

  std::optional<float> number(ValueId id) const {
    const Value& value = writer_.graph.value(id);
    if (!value.is_constant || value.type != DataType::kFloat32 || value.constant.elements() != 1) return std::nullopt;
    return *value.constant.f32();
  }

  // The axes over which `id` is the mean of `of`, if it is.
  std::optional<std::vector<int32_t>> mean_axes(ValueId id, ValueId of) const {
    const Node* pooled = made_by(id, Op::kGlobalAveragePool);
    if (pooled && pooled->inputs[0] == of) return std::vector<int32_t>{2, 3};
    const Node* mean = made_by(id, Op::kReduceMean);
    if (!mean || mean->inputs[0] != of) return std::nullopt;
    const auto& attrs = std::get<ReduceAttrs>(mean->attrs);
    if (!attrs.keep_dims) return std::nullopt;
    return attrs.axes;
  }

  // What the value is the square root of or, with a factor in place of a divisor, the reciprocal of the root.
  ValueId root(ValueId id, bool divisor) const {
    const Node* power = made_by(id, Op::kPow);
    if (!power) return kNoValue;
    const float exponent = std::get<AlphaBetaAttrs>(power->attrs).alpha;
    if (exponent == (divisor ? 0.5f : -0.5f)) return power->inputs[0];
    return !divisor && exponent == -1.f ? root(power->inputs[0], true) : kNoValue;
  }

  bool is_variance(ValueId id, const Node& centred, ValueId difference, const std::vector<int32_t>& axes) const {
    const Node* maker = id == kNoValue ? nullptr : writer_.maker(id);
    if (!maker || maker->inputs.empty()) return false;
    const ValueId squares = maker->inputs[0];
    if (mean_axes(id, squares) != axes) return false;
    const Node* square = made_by(squares, Op::kMul);
    if (!square || square->inputs[0] != square->inputs[1]) return false;
    if (square->inputs[0] == difference) return true;
    const Node* again = made_by(square->inputs[0], Op::kSub);  // some exporters subtract the mean twice
    return again && again->inputs[0] == centred.inputs[0] && mean_axes(again->inputs[1], centred.inputs[0]) == axes;
  }

  const GraphWriter& writer_;
};

// The constant's shape without dimensions of size 1 in front.
Shape without_leading_ones(Shape shape) {
  while (!shape.empty() && shape.front() == 1) shape.erase(shape.begin());
  return shape;
}

// Whether a constant has one number for each element that a LayerNorm on `rows` normalises, in the shape of its result.
bool fits_parameters(const Shape& constant, const Shape& rows, const Shape& result) {
  const Shape shape = without_leading_ones(constant);
  if (rows.size() == 4) return result == rows && shape == without_leading_ones({rows[1], 1, 1});
  const int64_t length = rows.back();
  int64_t count = 1;
  size_t first = result.size();
  while (first > 0 && count < length) count *= result[--first];
  return count == length &&
         shape == without_leading_ones(Shape(result.begin() + static_cast<int64_t>(first), result.end()));
}

}  // namespace

ValueId recognised_layer_norm(NodeContext& c, Compose* g, Op op, ValueId a, ValueId b) {
  if (op != Op::kDiv && op != Op::kMul) return kNoValue;
  const Pattern pattern(&c.writer());
  std::optional<Pattern::Found> found = pattern.find(op, a, b);
  if (!found && op == Op::kMul) found = pattern.find(op, b, a);
  if (!found) return kNoValue;
  const Shape shape = g->shape(found->x);
  LayerNormParameters parameters;
  parameters.epsilon = found->epsilon;
  if (shape.size() == 4 && found->axes == std::vector<int32_t>{1}) {  // over the channels of every pixel
    return g->node(Op::kLayerNorm, {found->x, kNoValue, kNoValue}, BatchNormAttrs{parameters.epsilon});
  }
  const int32_t axis = found->axes.front();
  const bool trailing = static_cast<size_t>(axis) + found->axes.size() == shape.size();
  return trailing && shape.size() > 1 ? normalized(g, found->x, axis, parameters) : kNoValue;
}

ValueId layer_norm_with(NodeContext& c, Compose* g, Op op, ValueId y, const HostTensor& constant) {
  if ((op != Op::kMul && op != Op::kAdd) || !constant.is_float() || constant.size() < 2) return kNoValue;
  const Node* maker = c.writer().maker(y);
  if (maker && maker->op == Op::kReshape) maker = c.writer().maker(maker->inputs[0]);
  if (!maker || maker->op != Op::kLayerNorm) return kNoValue;
  Node node = *maker;
  const Shape rows = g->shape(node.inputs[0]), result = g->shape(y);
  node.inputs.resize(3, kNoValue);
  const size_t place = op == Op::kMul ? 1 : 2;
  const bool taken = node.inputs[2] != kNoValue || node.inputs[place] != kNoValue;
  if (taken || !fits_parameters(constant.shape, rows, result)) return kNoValue;
  const auto count = static_cast<int64_t>(constant.size());
  node.inputs[place] =
      c.add_constant(constant, {count}, constant.floats, constant.change.empty() ? "initializer" : constant.change);
  return g->reshape(g->node(Op::kLayerNorm, node.inputs, node.attrs), result);
}

}  // namespace sparsenet::converter

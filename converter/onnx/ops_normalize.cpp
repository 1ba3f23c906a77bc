// ONNX normalisations over parts of one image: LayerNormalization, InstanceNormalization, GroupNormalization, LRN,
// LpNormalization, RMSNormalization.
#include <algorithm>

#include "converter/onnx/compose.h"
#include "converter/onnx/layer_norm.h"

namespace sparsenet::converter {
namespace {

// A float constant of `count` elements in the given shape; one number stands for all of them.
ValueId parameter(NodeContext& c, Compose* g, size_t i, const char* what, int64_t count, const Shape& shape) {
  if (!g->ok() || !c.has_input(i)) return kNoValue;
  Result<HostTensorPtr> tensor = c.constant(i, what);
  if (!tensor.ok()) {
    g->fail(tensor.status());
    return kNoValue;
  }
  const HostTensor& t = **tensor;
  if (static_cast<int64_t>(t.size()) != count && t.size() != 1) {
    g->fail(invalid_model(std::string(what) + ": expected " + std::to_string(count) + " numbers, found " +
                          to_string(t.shape)));
    return kNoValue;
  }
  Elements<float> values = t.floats;
  if (static_cast<int64_t>(values.size()) != count) values.assign(static_cast<size_t>(count), t.floats[0]);
  return c.add_constant(t, shape, values, t.change.empty() ? "initializer" : t.change);
}

// Outputs 1 and 2 of LayerNormalization: the mean and the reciprocal of the standard deviation.
Status add_statistics(NodeContext& c, ValueId x, int32_t axis, float epsilon) {
  if (!c.output_is_used(1) && !c.output_is_used(2)) return {};
  Compose g(c);
  std::vector<int32_t> axes;
  for (auto d = axis; d < static_cast<int32_t>(g.shape(x).size()); ++d) axes.push_back(d);
  const ValueId mean = g.mean(x, axes), difference = g.node(Op::kSub, {x, mean});
  const ValueId variance = g.mean(g.node(Op::kMul, {difference, difference}), axes);
  const ValueId inverse =
      g.node(Op::kPow, {g.node(Op::kAdd, {variance, g.scalar(epsilon)})}, AlphaBetaAttrs{-0.5f, 0.f});
  if (!g.ok()) return g.status();
  c.set_output(1, mean);
  c.set_output(2, inverse);
  return {};
}

Status import_layer_normalization(NodeContext& c) {
  const BatchNormAttrs attrs{c.float_attribute("epsilon", 1e-5f)};
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  const Shape shape = c.writer().shape(x);
  SPARSENET_ASSIGN_OR_RETURN(const int32_t axis, normalize_axis(c.int_attribute("axis", -1), shape.size()));
  if (axis <= c.writer().batch_axis(x))
    return c.mixes_batch("axis " + std::to_string(axis) + ": normalises over the batch");
  int64_t length = 1;
  for (size_t d = static_cast<size_t>(axis); d < shape.size(); ++d) length *= shape[d];
  SPARSENET_RETURN_IF_ERROR(add_statistics(c, x, axis, attrs.epsilon));
  Compose g(c);
  LayerNormParameters p{attrs.epsilon, parameter(c, &g, 1, "scale", length, {length}),
                        parameter(c, &g, 2, "bias", length, {length})};
  // Over the channels of images that have just been transposed to [N, H, W, C]: before that is done.
  if (const Node* before = c.writer().maker(x); axis == 3 && is_channels_last(before)) {
    const ValueId y = g.node(Op::kLayerNorm, {before->inputs[0], p.scale, p.shift}, attrs);
    return g.finish(g.transpose(y, kChannelsLast));
  }
  return g.finish(normalized(&g, x, axis, p));
}

// Normalises every one of `groups` groups of channels of an image; then scale and shift per channel, or per group.
Status normalize_groups(NodeContext& c, int64_t groups, bool per_group) {
  const BatchNormAttrs attrs{c.float_attribute("epsilon", 1e-5f)};
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  const Shape shape = c.writer().shape(x);
  if (shape.size() < 3) return unsupported("input: expected rank 3 or more, found " + to_string(shape));
  if (groups == 0) groups = shape[1];
  if (groups < 1 || shape[1] % groups != 0) {
    return invalid_model("num_groups: expected a divisor of " + std::to_string(shape[1]) + ", found " +
                         std::to_string(groups));
  }
  Compose g(c);
  const Shape grouped{shape[0], groups, element_count(shape) / (shape[0] * groups)};
  const ValueId normal = g.node(Op::kLayerNorm, {g.reshape(x, grouped)}, attrs);
  const int64_t count = per_group ? groups : shape[1];
  Shape column(shape.size() - 1, 1);
  column[0] = count;
  if (per_group) column = {groups, 1};
  const ValueId scale = parameter(c, &g, 1, "scale", count, column);
  const ValueId shift = parameter(c, &g, 2, "bias", count, column);
  const ValueId y = per_group ? normal : g.reshape(normal, shape);
  const ValueId z = g.node(Op::kAdd, {g.node(Op::kMul, {y, scale}), shift});
  return g.finish(g.reshape(z, shape));
}

Status import_instance_normalization(NodeContext& c) {
  return normalize_groups(c, 0, false);
}

// Opset 18 has a scale per group, which opset 21 corrected to one per channel.
Status import_group_normalization(NodeContext& c) {
  const int64_t groups = c.int_attribute("num_groups", 0);
  if (groups < 1) return invalid_model("num_groups: expected 1 or more, found " + std::to_string(groups));
  return normalize_groups(c, groups, c.opset() < 21);
}

// x / (bias + alpha mean of x^2 over neighbouring channels)^beta; channels beyond the ends count as zeros. Channels are
// pooled as rows of one column.
Status import_lrn(NodeContext& c) {
  const float alpha = c.float_attribute("alpha", 1e-4f), beta = c.float_attribute("beta", 0.75f);
  const float bias = c.float_attribute("bias", 1.f);
  const int64_t size = c.int_attribute("size", 0);
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  const Shape shape = c.writer().shape(x);
  if (shape.size() < 2) return unsupported("input: expected rank 2 or more, found " + to_string(shape));
  if (size < 1 || size > shape[1] + 1) {
    return unsupported("size: expected 1 to " + std::to_string(shape[1] + 1) + ", found " + std::to_string(size));
  }
  PoolAttrs pool;
  const auto before = static_cast<int32_t>((size - 1) / 2), after = static_cast<int32_t>(size / 2);
  pool.kernel = {static_cast<int32_t>(size), 1};
  pool.pads = {before, 0, after, 0};
  pool.count_include_pad = true;
  Compose g(c);
  const Shape rows{shape[0], 1, shape[1], element_count(shape) / (shape[0] * shape[1])};
  const ValueId squares = g.reshape(g.node(Op::kMul, {x, x}), rows);
  const ValueId mean = g.reshape(g.node(Op::kAveragePool, {squares}, pool), shape);
  const ValueId sum = g.node(Op::kAdd, {g.scaled(mean, alpha), g.scalar(bias)});
  return g.finish(g.node(Op::kMul, {x, g.node(Op::kPow, {sum}, AlphaBetaAttrs{-beta, 0.f})}));
}

// x / sqrt(mean of x^2 + epsilon) over the dimensions from an axis on, times a scale.
Status import_rms_normalization(NodeContext& c) {
  const float epsilon = c.float_attribute("epsilon", 1e-5f);
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  const Shape shape = c.writer().shape(x);
  SPARSENET_ASSIGN_OR_RETURN(const int32_t axis, normalize_axis(c.int_attribute("axis", -1), shape.size()));
  if (axis <= c.writer().batch_axis(x))
    return c.mixes_batch("axis " + std::to_string(axis) + ": normalises over the batch");
  std::vector<int32_t> axes;
  for (auto d = axis; d < static_cast<int32_t>(shape.size()); ++d) axes.push_back(d);
  Compose g(c);
  const ValueId square = g.mean(g.node(Op::kMul, {x, x}), axes);
  const ValueId inverse = g.node(Op::kPow, {g.node(Op::kAdd, {square, g.scalar(epsilon)})}, AlphaBetaAttrs{-0.5f, 0.f});
  return g.finish(g.node(Op::kMul, {g.node(Op::kMul, {x, inverse}), g.input(1)}));
}

// x / |x| along an axis, by the sum of sizes or the root of the sum of squares; zeros stay zeros.
Status import_lp_normalization(NodeContext& c) {
  const int64_t p = c.int_attribute("p", 2);
  if (p != 1 && p != 2) return invalid_model("p: expected 1 or 2, found " + std::to_string(p));
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  SPARSENET_ASSIGN_OR_RETURN(const int32_t axis,
                             normalize_axis(c.int_attribute("axis", -1), c.writer().shape(x).size()));
  if (axis == c.writer().batch_axis(x)) return c.mixes_batch("axis " + std::to_string(axis) + " is the batch");
  Compose g(c);
  ValueId norm = kNoValue;
  if (p == 1) {
    norm = g.sum(g.node(Op::kLeakyRelu, {x}, AlphaBetaAttrs{-1.f, 0.f}), {axis});
  } else {
    norm = g.node(Op::kPow, {g.sum(g.node(Op::kMul, {x, x}), {axis})}, AlphaBetaAttrs{0.5f, 0.f});
  }
  return g.finish(g.node(Op::kDiv, {x, g.node(Op::kMax, {norm, g.scalar(1e-30f)})}));
}

}  // namespace

NodeImporter find_normalize_op(const std::string& op) {
  if (op == "LayerNormalization") return import_layer_normalization;
  if (op == "InstanceNormalization") return import_instance_normalization;
  if (op == "GroupNormalization") return import_group_normalization;
  if (op == "LRN") return import_lrn;
  if (op == "RMSNormalization") return import_rms_normalization;
  if (op == "LpNormalization") return import_lp_normalization;
  return nullptr;
}

}  // namespace sparsenet::converter

// Shape rules of the training ops. These ops occur only in graphs that build_backward has made, so the rules check only
// what lowering relies on.
#include <utility>

#include "graph/ops.h"
#include "graph/training_ops.h"

namespace sparsenet {
namespace {

Status expect(const std::string& what, const Shape& expected, const Shape& found) {
  if (expected == found) return {};
  return ShapeContext::mismatch(what, to_string(expected), to_string(found));
}

int64_t channels(const Shape& s) {
  return s.size() < 2 ? element_count(s) : s[1];
}

void made(ShapeContext& c, size_t i, Shape shape) {
  if (i < c.outputs.size()) c.outputs[i] = std::move(shape);
}

Status infer_batch_stats(ShapeContext& c) {
  made(c, 0, {3, channels(c.input(0))});
  return {};
}
Status infer_fold_stats(ShapeContext& c) {
  SPARSENET_RETURN_IF_ERROR(expect("gamma", {c.input(0)[1]}, c.input(1)));
  SPARSENET_RETURN_IF_ERROR(expect("beta", {c.input(0)[1]}, c.input(2)));
  made(c, 0, {2, c.input(0)[1]});
  return {};
}
Status infer_normalize(ShapeContext& c) {
  SPARSENET_RETURN_IF_ERROR(expect("scale and shift", {2, channels(c.input(0))}, c.input(1)));
  made(c, 0, c.input(0));
  return {};
}
Status infer_normalize_grad(ShapeContext& c) {
  SPARSENET_RETURN_IF_ERROR(expect("gradient", c.input(1), c.input(0)));
  SPARSENET_RETURN_IF_ERROR(expect("scale and shift", {2, channels(c.input(1))}, c.input(2)));
  if (c.has_input(3)) SPARSENET_RETURN_IF_ERROR(expect("stats", {3, channels(c.input(1))}, c.input(3)));
  if (c.has_input(4)) SPARSENET_RETURN_IF_ERROR(expect("dx", c.input(1), c.input(4)));
  made(c, 0, {2, channels(c.input(1))});
  made(c, 1, c.input(1));
  return {};
}
Status infer_fold_stats_grad(ShapeContext& c) {
  SPARSENET_RETURN_IF_ERROR(expect("dstats", c.input(0), c.input(3)));
  made(c, 0, c.input(2));
  made(c, 1, c.input(2));
  return {};
}
Status infer_batch_stats_grad(ShapeContext& c) {
  return expect("dx", c.input(0), c.input(3));
}
Status infer_conv_grad_weight(ShapeContext& c) {
  const Shape& weight = train_attrs(c.node).shape;
  made(c, 0, weight);
  made(c, 1, {weight[0]});
  return {};
}
Status infer_as_second(ShapeContext& c) {
  made(c, 0, c.input(1));
  return {};
}
Status infer_as_first(ShapeContext& c) {
  made(c, 0, c.input(0));
  return {};
}
Status infer_given(ShapeContext& c) {
  made(c, 0, train_attrs(c.node).shape);
  return {};
}
Status infer_dot_pixels(ShapeContext& c) {
  SPARSENET_RETURN_IF_ERROR(expect("second operand", c.input(0), c.input(1)));
  made(c, 0, {c.input(0)[0], c.input(0)[1], 1, 1});
  return {};
}
Status infer_scale_pixels(ShapeContext& c) {
  SPARSENET_RETURN_IF_ERROR(expect("factor", {c.input(0)[0], c.input(0)[1], 1, 1}, c.input(1)));
  made(c, 0, c.input(0));
  return {};
}
Status infer_accumulate(ShapeContext& c) {
  return expect("target", c.input(0), c.input(1));
}
Status infer_cross_entropy(ShapeContext& c) {
  SPARSENET_RETURN_IF_ERROR(expect("labels", {c.input(0)[0], 1}, c.input(1)));
  made(c, 0, {1, 2});
  made(c, 1, c.input(0));
  return {};
}

struct Rule {
  Op op;
  Status (*infer)(ShapeContext&);
};
// The training ops that are not listed have no outputs.
const Rule kRules[] = {
    {TrainOp::kBatchStats, infer_batch_stats},
    {TrainOp::kFoldStats, infer_fold_stats},
    {TrainOp::kNormalize, infer_normalize},
    {TrainOp::kNormalizeGrad, infer_normalize_grad},
    {TrainOp::kFoldStatsGrad, infer_fold_stats_grad},
    {TrainOp::kBatchStatsGrad, infer_batch_stats_grad},
    {TrainOp::kConvGradWeight, infer_conv_grad_weight},
    {TrainOp::kActivationGrad, infer_as_second},
    {TrainOp::kMaxPoolGrad, infer_as_second},
    {TrainOp::kSoftmaxGrad, infer_as_second},
    {TrainOp::kConvGradInput, infer_given},
    {TrainOp::kAveragePoolGrad, infer_given},
    {TrainOp::kReduceSum, infer_given},
    {TrainOp::kExpand, infer_given},
    {TrainOp::kExpandPixels, infer_given},
    {TrainOp::kFill, infer_given},
    {TrainOp::kSliceGrad, infer_given},
    {TrainOp::kDotPixels, infer_dot_pixels},
    {TrainOp::kScalePixels, infer_scale_pixels},
    {TrainOp::kAccumulate, infer_accumulate},
    {TrainOp::kCrossEntropy, infer_cross_entropy},
    {TrainOp::kFakeQuantize, infer_as_first},
    {TrainOp::kRoundWeight, infer_as_first},
};

}  // namespace

Status infer_train(ShapeContext& c) {
  if (!std::get<TrainAttrsPointer>(c.node.attrs)) return invalid_model("attributes are missing");
  for (const Rule& rule : kRules) {
    if (rule.op == c.node.op) return rule.infer(c);
  }
  return {};
}

}  // namespace sparsenet

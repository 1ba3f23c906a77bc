// Shape rules of the training ops. They stand in graphs that build_backward made, so this checks what lowering relies
// on and no more.
#include "graph/ops.h"

namespace sparsenet {
namespace {

Status expect(const std::string& what, const Shape& expected, const Shape& found) {
  if (expected == found) return {};
  return ShapeContext::mismatch(what, to_string(expected), to_string(found));
}

int64_t channels(const Shape& s) {
  return s.size() < 2 ? element_count(s) : s[1];
}

}  // namespace

Status infer_train(ShapeContext& c) {
  const auto& a = std::get<TrainAttrs>(c.node.attrs);
  auto made = [&](size_t i, Shape shape) {
    if (i < c.outputs.size()) c.outputs[i] = std::move(shape);
  };
  switch (c.node.op) {
    case Op::kBatchStats:
      made(0, {3, channels(c.input(0))});
      return {};
    case Op::kFoldStats:
      SPARSENET_RETURN_IF_ERROR(expect("gamma", {c.input(0)[1]}, c.input(1)));
      SPARSENET_RETURN_IF_ERROR(expect("beta", {c.input(0)[1]}, c.input(2)));
      made(0, {2, c.input(0)[1]});
      return {};
    case Op::kNormalize:
      SPARSENET_RETURN_IF_ERROR(expect("scale and shift", {2, channels(c.input(0))}, c.input(1)));
      made(0, c.input(0));
      return {};
    case Op::kNormalizeGrad:
      SPARSENET_RETURN_IF_ERROR(expect("gradient", c.input(1), c.input(0)));
      SPARSENET_RETURN_IF_ERROR(expect("scale and shift", {2, channels(c.input(1))}, c.input(2)));
      if (c.has_input(3)) SPARSENET_RETURN_IF_ERROR(expect("stats", {3, channels(c.input(1))}, c.input(3)));
      if (c.has_input(4)) SPARSENET_RETURN_IF_ERROR(expect("dx", c.input(1), c.input(4)));
      made(0, {2, channels(c.input(1))});
      made(1, c.input(1));
      return {};
    case Op::kFoldStatsGrad:
      SPARSENET_RETURN_IF_ERROR(expect("dstats", c.input(0), c.input(3)));
      made(0, c.input(2));
      made(1, c.input(2));
      return {};
    case Op::kBatchStatsGrad:
      return expect("dx", c.input(0), c.input(3));
    case Op::kConvGradWeight:
      made(0, a.shape);
      made(1, {a.shape[0]});
      return {};
    case Op::kActivationGrad:
    case Op::kMaxPoolGrad:
    case Op::kSoftmaxGrad:
      made(0, c.input(1));
      return {};
    case Op::kConvGradInput:
    case Op::kAveragePoolGrad:
    case Op::kReduceSum:
    case Op::kExpand:
    case Op::kExpandPixels:
    case Op::kFill:
    case Op::kSliceGrad:
      made(0, a.shape);
      return {};
    case Op::kDotPixels:
      SPARSENET_RETURN_IF_ERROR(expect("second operand", c.input(0), c.input(1)));
      made(0, {c.input(0)[0], c.input(0)[1], 1, 1});
      return {};
    case Op::kScalePixels:
      SPARSENET_RETURN_IF_ERROR(expect("factor", {c.input(0)[0], c.input(0)[1], 1, 1}, c.input(1)));
      made(0, c.input(0));
      return {};
    case Op::kAccumulate:
      return expect("target", c.input(0), c.input(1));
    case Op::kCrossEntropy:
      SPARSENET_RETURN_IF_ERROR(expect("labels", {c.input(0)[0], 1}, c.input(1)));
      made(0, {1, 2});
      made(1, c.input(0));
      return {};
    default:
      return {};
  }
}

}  // namespace sparsenet

// Writes an operator as several nodes. After a first failure nothing more is added, and finish() tells it: so an
// importer need not look at every step.
#pragma once

#include "converter/onnx/node_context.h"

namespace sparsenet::converter {

// From [N, C, H, W] to [N, H, W, C].
inline const std::vector<int32_t> kChannelsLast{0, 2, 3, 1};
inline bool is_channels_last(const Node* maker) {
  return maker && maker->op == Op::kTranspose && std::get<TransposeAttrs>(maker->attrs).perm == kChannelsLast;
}

// Elementwise ops on the node's first input, or on its first two. Where an operand has been transposed or reshaped just
// for this node, the op is done before that: so it meets the layer in front of it, into which it may be fused, and
// moves that follow each other cancel.
Status emit_elementwise(NodeContext& c, Op op, Attrs attrs = NoAttrs{});
Status emit_arithmetic(NodeContext& c, Op op);

class Compose {
 public:
  explicit Compose(NodeContext& c) : c_(c) {}

  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }
  void fail(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }
  // Of a value that earlier steps made; empty after a failure.
  Shape shape(ValueId x) const { return x == kNoValue ? Shape{} : c_.writer().shape(x); }

  // Each of these returns kNoValue after a failure.
  ValueId input(size_t i);
  ValueId node(Op op, const std::vector<ValueId>& inputs, Attrs attrs = NoAttrs{});
  ValueId constant(Shape shape, Elements<float> values);
  ValueId scalar(float value) { return constant({1}, Elements<float>(std::vector<float>{value})); }
  ValueId scaled(ValueId x, float factor) { return factor == 1.f ? x : node(Op::kMul, {x, scalar(factor)}); }
  ValueId reshape(ValueId x, const Shape& target);
  ValueId transpose(ValueId x, const std::vector<int32_t>& perm);
  // The elements of `x` at these indices of an axis, as slices side by side.
  ValueId gather(ValueId x, int32_t axis, const std::vector<int64_t>& indices);
  // The maximum over these axes (ascending), which stay with size 1. By pooling, for which they move to the end.
  ValueId maximum(ValueId x, const std::vector<int32_t>& axes);
  ValueId mean(ValueId x, const std::vector<int32_t>& axes);
  ValueId sum(ValueId x, const std::vector<int32_t>& axes);
  // min(max(x, low), high), merged with a Clip before it.
  ValueId clip(ValueId x, float low, float high);

  // Makes `y` output 0.
  Status finish(ValueId y);

 private:
  ValueId take(Result<ValueId> made);

  NodeContext& c_;
  Status status_;
};

}  // namespace sparsenet::converter

// What the parts of constant folding share: one function for each family of operators, and walks through tensors.
#pragma once

#include <string>
#include <vector>

#include "converter/onnx/node_context.h"

namespace sparsenet::converter {

// The most elements of a folded result: larger ones are no constants of a network that classifies images.
constexpr int64_t kMostFolded = int64_t{1} << 26;

HostTensor folded_integers(Shape shape, Elements<int64_t> values);
HostTensor folded_floats(Shape shape, Elements<float> values);

// kUnsupported if a result of this shape would have too many elements.
Status check_folded(const Shape& shape);

// To be called with the number of elements that a node reads: what only reads costs time but no memory, so the memory
// budget does not limit it. Fails if the import reads too much.
Status charge_folding(NodeContext& c, uint64_t elements);

// The value as an integer of that type holds it: wrapped around; booleans are 0 and 1.
int64_t wrapped(ElementType type, int64_t value);

// The number of an input that must have exactly one.
Result<int64_t> folded_integer(const NodeContext& c, size_t i, const char* what);

// Both shapes by the rules of broadcasting.
Result<Shape> broadcast_shape(const Shape& a, const Shape& b);

// Positions in a row-major tensor, in the order of another shape: `steps` says how far one step along each dimension
// of that shape goes.
class Walk {
 public:
  Walk(const Shape& shape, std::vector<int64_t> steps, int64_t start = 0)
      : shape_(shape), steps_(std::move(steps)), index_(shape.size(), 0), at_(start) {}
  size_t at() const { return static_cast<size_t>(at_); }
  void next() {
    for (size_t d = index_.size(); d-- > 0;) {
      at_ += steps_[d];
      if (++index_[d] < shape_[d]) return;
      at_ -= steps_[d] * shape_[d];
      index_[d] = 0;
    }
  }

 private:
  Shape shape_;
  std::vector<int64_t> steps_;
  std::vector<int64_t> index_;
  int64_t at_;
};

// The steps with which a walk over `to` reads a tensor of shape `from`, which broadcasts to it.
std::vector<int64_t> broadcast_steps(const Shape& from, const Shape& to);

// The elements of x at the walk's positions, as a tensor of that shape.
HostTensor picked(const HostTensor& x, Shape shape, Walk walk);

// Each evaluates one operator of its family, all of whose inputs are constants.
Status fold_arithmetic(NodeContext& c);  // fold_arithmetic.cpp: of two operands, or of any number
Status fold_unary(NodeContext& c);
Status fold_where(NodeContext& c);
Status fold_clip(NodeContext& c);
Status fold_reshape(NodeContext& c);  // fold_movement.cpp
Status fold_transpose(NodeContext& c);
Status fold_concat(NodeContext& c);
Status fold_gather(NodeContext& c);
Status fold_slice(NodeContext& c);
Status fold_split(NodeContext& c);
Status fold_expand(NodeContext& c);
Status fold_tile(NodeContext& c);
Status fold_scatter_nd(NodeContext& c);
Status fold_pad(NodeContext& c);
Status fold_non_zero(NodeContext& c);
Status fold_reduce(NodeContext& c);  // fold_layers.cpp
Status fold_cumulative(NodeContext& c);
Status fold_batch_norm(NodeContext& c);
Status fold_dequantize(NodeContext& c);  // fold_quantized.cpp
Status fold_quantize(NodeContext& c);
Status fold_matmul(NodeContext& c);

// Whether these families have the operator.
bool folds_arithmetic(const std::string& op);
bool folds_unary(const std::string& op);
bool folds_reduction(const std::string& op);

}  // namespace sparsenet::converter

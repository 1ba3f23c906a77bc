// The shapes that result from the reshaping operators of ONNX, for activations and constants alike.
#pragma once

#include "converter/onnx/node_context.h"

namespace sparsenet::converter {

// Reshape: 0 keeps a dimension (unless allow_zero); one dimension may be -1 and is inferred.
Result<Shape> reshaped(const Shape& from, const std::vector<int64_t>& dims, bool allow_zero);
Result<Shape> flattened(const Shape& from, int64_t axis);
Result<Shape> squeezed(const Shape& from, const std::vector<int64_t>& axes);
Result<Shape> unsqueezed(const Shape& from, const std::vector<int64_t>& axes);

// A permutation of `rank` axes; if the attribute is absent, it reverses them.
Result<std::vector<int32_t>> read_perm(const std::vector<int64_t>& perm, size_t rank);

// Slice as written in the file: attributes before opset 10, inputs since.
struct SliceRequest {
  std::vector<int64_t> starts, ends, axes, steps;  // of equal length
};
Status read_slice(NodeContext& c, SliceRequest* out);

// Its entry `i` along an axis of `dim` elements: the elements start, start + step, ..., `count` of them.
struct SliceRange {
  int64_t start = 0, step = 1, count = 0;
};
Result<SliceRange> slice_range(const SliceRequest& request, size_t i, int64_t dim);

}  // namespace sparsenet::converter

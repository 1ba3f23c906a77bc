#include "converter/host_tensor.h"

namespace sparsenet::converter {

std::vector<size_t> row_major_strides(const Shape& shape) {
  std::vector<size_t> strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * static_cast<size_t>(shape[d]);
  return strides;
}

HostTensor transposed(const HostTensor& x, const std::vector<int32_t>& perm) {
  HostTensor out;
  out.type = x.type;
  out.source = x.source;
  out.change = "transposed";
  const std::vector<size_t> strides = row_major_strides(x.shape);
  std::vector<size_t> steps;
  for (int32_t axis : perm) {
    out.shape.push_back(x.shape[static_cast<size_t>(axis)]);
    steps.push_back(strides[static_cast<size_t>(axis)]);
  }
  const size_t count = x.size();
  const bool is_float = x.is_float();
  (is_float ? out.floats.resize(count) : out.ints.resize(count));
  float* floats = out.floats.data();
  int64_t* ints = out.ints.data();
  std::vector<size_t> index(perm.size(), 0);
  size_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    if (is_float) {
      floats[i] = x.floats[at];
    } else {
      ints[i] = x.ints[at];
    }
    for (size_t d = index.size(); d-- > 0;) {
      at += steps[d];
      if (++index[d] < static_cast<size_t>(out.shape[d])) break;
      at -= steps[d] * static_cast<size_t>(out.shape[d]);
      index[d] = 0;
    }
  }
  return out;
}

}  // namespace sparsenet::converter

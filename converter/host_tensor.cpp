#include "converter/host_tensor.h"

#include <algorithm>

namespace sparsenet::converter {

std::vector<size_t> row_major_strides(const Shape& shape) {
  std::vector<size_t> strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * static_cast<size_t>(shape[d]);
  return strides;
}

namespace {

// The elements in the order of another shape, in which one step along each dimension goes as far as `steps` says.
template <class T>
Elements<T> moved(const Elements<T>& from, const Shape& shape, const std::vector<size_t>& steps) {
  Elements<T> out;
  out.resize(from.size());
  T* to = out.data();
  std::vector<size_t> index(shape.size(), 0);
  size_t at = 0;
  for (size_t i = 0; i < from.size(); ++i) {
    to[i] = from[at];
    for (size_t d = index.size(); d-- > 0;) {
      at += steps[d];
      if (++index[d] < static_cast<size_t>(shape[d])) break;
      at -= steps[d] * static_cast<size_t>(shape[d]);
      index[d] = 0;
    }
  }
  return out;
}

}  // namespace

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
  if (!x.is_float()) {
    out.ints = moved(x.ints, out.shape, steps);
    return out;
  }
  out.floats = moved(x.floats, out.shape, steps);
  if (const IntegerWeights* weights = x.integer_weights()) {
    auto with = std::make_shared<IntegerWeights>();
    with->values = moved(weights->values, out.shape, steps);
    with->floats = out.floats;
    with->scales = weights->scales;
    with->axis = static_cast<int32_t>(std::find(perm.begin(), perm.end(), weights->axis) - perm.begin());
    out.weights = std::move(with);
  }
  return out;
}

}  // namespace sparsenet::converter

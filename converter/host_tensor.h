// Constants on their way from a source file to the graph.
#pragma once

#include <sparsenet/graph.h>

#include <string>
#include <vector>

#include "converter/io/numeric.h"

namespace sparsenet::converter {

// Floats of any width are converted to float32, integers and booleans to int64: one of the two lists is filled.
struct HostTensor {
  ElementType type = ElementType::kFloat32;  // in the file
  Shape shape;
  Elements<float> floats;
  Elements<int64_t> ints;
  std::string source;  // the tensor of the file that it comes from, for the report
  std::string change;  // what has been done to it ("transposed", ...)

  bool is_float() const { return converter::is_float(type); }
  size_t size() const { return is_float() ? floats.size() : ints.size(); }
};

// The row-major strides of a shape.
std::vector<size_t> row_major_strides(const Shape& shape);

// The tensor with its axes permuted. `perm` is a valid permutation.
HostTensor transposed(const HostTensor& x, const std::vector<int32_t>& perm);

}  // namespace sparsenet::converter

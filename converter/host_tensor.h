// Constants on their way from a source file to the graph.
#pragma once

#include <sparsenet/graph.h>

#include <memory>
#include <string>
#include <vector>

#include "converter/io/numeric.h"

namespace sparsenet::converter {

// The integers that a constant was stored as, less their zero point: floats[i] = scale * values[i].
struct IntegerWeights {
  Elements<int8_t> values;
  Elements<float> floats;     // shares their memory, so that a change of the constant's floats gives these an own copy
  std::vector<float> scales;  // one, or one per index of the axis
  int32_t axis = 0;
};

// Floats of any width are converted to float32, integers and booleans to int64: one of the two lists is filled.
struct HostTensor {
  ElementType type = ElementType::kFloat32;  // in the file
  Shape shape;
  Elements<float> floats;
  Elements<int64_t> ints;
  std::string source;                             // the tensor of the file that it comes from, for the report
  std::string change;                             // what has been done to it ("transposed", ...)
  std::shared_ptr<const IntegerWeights> weights;  // of which `floats` were made; see integer_weights()

  bool is_float() const { return converter::is_float(type); }
  size_t size() const { return is_float() ? floats.size() : ints.size(); }
  // The integers that the floats stand for; null if there are none, or if the floats have been changed since.
  const IntegerWeights* integer_weights() const {
    return weights && floats.data() == weights->floats.data() ? weights.get() : nullptr;
  }
};

// The row-major strides of a shape.
std::vector<size_t> row_major_strides(const Shape& shape);

// The tensor with its axes permuted, with its integer weights if it has any. `perm` is a valid permutation.
HostTensor transposed(const HostTensor& x, const std::vector<int32_t>& perm);

}  // namespace sparsenet::converter

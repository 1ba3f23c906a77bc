// LayerNorm, as an operator and as exporters spell it out.
#pragma once

#include "converter/onnx/compose.h"

namespace sparsenet::converter {

struct LayerNormParameters {
  float epsilon = 1e-5f;
  ValueId scale = kNoValue, shift = kNoValue;  // as many numbers as are normalised together
};

// x normalised over the dimensions from `axis` on.
ValueId normalized(Compose* g, ValueId x, int32_t axis, const LayerNormParameters& parameters);

// The quotient or product of two values as one LayerNorm, where it is the end of the arithmetic that makes one;
// otherwise kNoValue.
ValueId recognised_layer_norm(NodeContext& c, Compose* g, Op op, ValueId a, ValueId b);

// `y` with a constant as factor or summand, where a LayerNorm makes `y` and can take the constant as its scale or
// shift; otherwise kNoValue.
ValueId layer_norm_with(NodeContext& c, Compose* g, Op op, ValueId y, const HostTensor& constant);

}  // namespace sparsenet::converter

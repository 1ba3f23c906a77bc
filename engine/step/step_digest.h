// A digest of what a step wrote, in two numbers: enough to find out on a device which step goes wrong.
#pragma once

#include "step/step.h"

namespace sparsenet::rt {

// sum: the sum of all values, each with a sign that depends on its position, so that errors do not cancel each other;
// norm: the square root of the sum of squares. Independent errors in the values, each a fraction of its value, change
// both numbers by about that fraction of the norm.
struct StepDigest {
  float sum, norm;
};

// Of integers both are halves of a checksum instead, which are compared exactly.
StepDigest digest(const View& view, const uint8_t* arena);

// The larger of the two differences, relative to the expected norm (or to 1e-6 if that is larger); infinite for NaN.
// Of integers: 0 if they are equal, else infinite.
float difference(DataType type, const StepDigest& found, const StepDigest& expected);

}  // namespace sparsenet::rt

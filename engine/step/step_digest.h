// Two numbers that stand for all that a step wrote: enough to tell on a device which step goes wrong.
#pragma once

#include "step/step.h"

namespace sparsenet::rt {

// sum: of all values, each with a sign that its place decides, so that errors do not hide each other's; norm: the root
// of the sum of squares. Errors that differ from value to value by a share of it move both by about that share of the
// norm.
struct StepDigest {
  float sum, norm;
};

StepDigest digest(const View& view, const uint8_t* arena);

// The larger of both differences as a share of the expected norm (or of 1e-6, if that is more); infinite for NaN.
float difference(const StepDigest& found, const StepDigest& expected);

}  // namespace sparsenet::rt

// Activations behind a result, over vectors.
#pragma once

#include "kernels/portable/simd.h"
#include "step/step.h"

namespace sparsenet::rt::SPARSENET_ISA {

SPARSENET_INLINE V activate(V x, const Act& act) {
  switch (act.kind) {
    case Act::kClamp:
      return bounded(x, splat(act.low), splat(act.high));
    case Act::kLeakyRelu:
      return x < 0.f ? x * act.alpha : x;
    case Act::kSigmoid:
      return vsigmoid(x);
    case Act::kHardSigmoid:
      return bounded(x * act.alpha + act.beta, V{}, splat(1.f));
    case Act::kHardSwish:
      return x * bounded(x * (1.f / 6) + 0.5f, V{}, splat(1.f));
    case Act::kTanh:
      return vtanh(x);
  }
  return x;
}

}  // namespace sparsenet::rt::SPARSENET_ISA

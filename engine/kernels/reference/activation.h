// Activations in plain C, and their slopes.
#pragma once

#include <math.h>

#include "step/linked_activation.h"
#include "step/step.h"

namespace sparsenet::rt {

// The formula of an activation whose kind comes after Act::kTanh. Each is a function of its own, so that a program for
// one model links only those that its plan uses.
struct NamedFormula {
  const char* name;  // of the function, in the namespace activations
  ActivationFormula formula;
};

// All of them, in the order of Act::Kind from kElu on.
constexpr int kFirstFormula = Act::kElu, kFormulas = Act::kLast - Act::kElu + 1;
extern const NamedFormula kActivationFormulas[kFormulas];

// min(max(x, low), high); NaN stays NaN, which fmin and fmax would drop.
inline float bounded_one(float x, float low, float high) {
  return x < low ? low : x > high ? high : x;
}

// The activation must be linked, which check_step() ensures.
inline float activate_one(float x, const Act& act) {
  switch (act.kind) {
    case Act::kClamp:
      return bounded_one(x, act.low, act.high);
    case Act::kLeakyRelu:
      return x < 0.f ? act.alpha * x : x;
    case Act::kSigmoid:
      return 1.f / (1.f + expf(-x));
    case Act::kHardSigmoid:
      return bounded_one(act.alpha * x + act.beta, 0.f, 1.f);
    case Act::kHardSwish:
      return x * bounded_one(x / 6.f + 0.5f, 0.f, 1.f);
    case Act::kTanh:
      return tanhf(x);
    default:
      return linked_activation(act.kind)(x, act.alpha);
  }
}

// The slope of an activation. `v` is its argument, or its result if its row in graph/activations.cpp says so.
float slope_one(float v, const Act& act);

}  // namespace sparsenet::rt

// The rounding that training simulates, in float32.
#pragma once

#include <math.h>

namespace sparsenet::rt {

// The scale of a row of weights whose largest magnitude is to be `most` steps. No smaller one is of use: what it stands
// for would be no normal number.
[[gnu::always_inline]] inline float row_scale(float largest, float most) {
  const float scale = largest / most;
  return scale > 1e-30f ? scale : 1e-30f;
}

// The largest integer that weights have. A row whose largest magnitude is 128 steps may have it on the other side.
constexpr float kMostWeight = 127.f;

// The integer that a weight becomes, ties to the even one.
[[gnu::always_inline]] inline float integer_weight(float x, float scale) {
  const float n = rintf(x / scale);
  return n > kMostWeight ? kMostWeight : n;
}

// The nearest of the numbers scale (n - zero) with an integer n. Ties go to the even n; with a positive `epsilon` up,
// also what is less than that below a tie, and with a negative one away from 0.
[[gnu::always_inline]] inline float fake_quantized(float x, float scale, float zero, float epsilon) {
  const float n = x / scale + zero;
  return (rintf(n < 0.f ? n + epsilon : n + fabsf(epsilon)) - zero) * scale;
}

}  // namespace sparsenet::rt

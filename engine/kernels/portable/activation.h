// Activations over vectors, their slopes, and arithmetic.
#pragma once

#include "kernels/portable/simd.h"
#include "step/step.h"

namespace sparsenet::rt::SPARSENET_ISA {

// The activations whose kinds come after Act::kTanh. Out of line, because kernels call activate() in many places.
V activate_smooth(V x, const Act& act);

// Applies an activation other than bounds, in place, to `outputs` neighbouring values of each pixel. Bounds are left to
// the kernels, which apply them on the way.
void activate_rows(const Act& act, float* y, ptrdiff_t row_stride, ptrdiff_t pixel_stride, int rows, int count,
                   int outputs);

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
    default:
      return activate_smooth(x, act);
  }
}

SPARSENET_INLINE V vabs(V x) {
  return x < 0.f ? -x : x;
}

// e^x - 1 for x <= 0. Near 0 it uses the Taylor polynomial, whose relative error stays small.
SPARSENET_INLINE V vexpm1(V x) {
  V p = splat(1.f / 5040);
  p = p * x + 1.f / 720;
  p = p * x + 1.f / 120;
  p = p * x + 1.f / 24;
  p = p * x + 1.f / 6;
  p = p * x + 0.5f;
  p = p * x + 1.f;
  return x > -0.5f ? p * x : vexp(x) - 1.f;
}

// log(1 + u) for 0 <= u <= 1: 2 artanh(s) with s = u / (2 + u) <= 1/3.
SPARSENET_INLINE V vlog1p(V u) {
  const V s = u / (u + 2.f), s2 = s * s;
  V p = splat(1.f / 13);
  p = p * s2 + 1.f / 11;
  p = p * s2 + 1.f / 9;
  p = p * s2 + 1.f / 7;
  p = p * s2 + 1.f / 5;
  p = p * s2 + 1.f / 3;
  p = p * s2 + 1.f;
  return (s + s) * p;
}

// 1 - erf(z) for finite z >= 0, to about 3e-7: formula 7.1.26 of Abramowitz and Stegun, Handbook of Mathematical
// Functions.
SPARSENET_INLINE V verfc(V z) {
  const V t = vreciprocal(1.f + z * 0.3275911f);
  V p = splat(1.061405429f);
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  return p * t * vexp(-z * z);
}

// erf(x). Near 0 it uses the odd polynomial, whose relative error stays small.
SPARSENET_INLINE V verf(V x) {
  const V x2 = x * x;
  const V small = x * (1.128379167f + x2 * (-0.376126389f + x2 * (0.112837917f + x2 * -0.026866171f)));
  const V far = 1.f - verfc(vmin(splat(10.f), vabs(x)));  // erfc(10) is 2e-45
  return x2 < 0.04f ? small : (x < 0.f ? -far : far);
}

// tanh(log(1 + e^x)) = e (e + 2) / (e (e + 2) + 2) with e = e^x; the result is 1 from x = 20 on.
SPARSENET_INLINE V vtanh_softplus(V x) {
  const V e = vexp(vmin(splat(20.f), x)), w = e * (e + 2.f);
  return w * vreciprocal(w + 2.f);
}

// e^x with the whole range of results: 0 and infinity, too.
SPARSENET_INLINE V vexp_full(V x) {
  const V half = vexp(x * 0.5f);
  return half * half;
}

// log x: the exponent times ln 2, plus log(1 + u) = 2 artanh(s) of the rest, s = u / (2 + u), |s| <= 0.172.
SPARSENET_INLINE V vlog(V x) {
  const VInt bits = reinterpret_cast<VInt>(vmax(splat(1.17549435e-38f), x));  // a positive number, or NaN
  const VInt exponent = (bits - 0x3f3504f3) >> 23;  // the rest lies between sqrt(1/2) and sqrt(2)
  const V rest = reinterpret_cast<V>(bits - (exponent << 23));
  const V u = rest - 1.f, s = u / (u + 2.f), s2 = s * s;
  V p = splat(1.f / 9);
  p = p * s2 + 1.f / 7;
  p = p * s2 + 1.f / 5;
  p = p * s2 + 1.f / 3;
  const V e = __builtin_convertvector(exponent, V);
  const V y = e * 0.693359375f + (e * -2.12194440e-4f + (s + s) * (p * s2 + 1.f));
  const V infinity = splat(INFINITY);
  const V of_positive = x < infinity ? (x < 1.17549435e-38f ? -infinity : y) : x;  // numbers below are zero
  return x < 0.f ? splat(NAN) : of_positive;
}

SPARSENET_INLINE V vsqrt(V x) {
#if defined(__AVX512F__)
  return reinterpret_cast<V>(_mm512_sqrt_ps(reinterpret_cast<__m512>(x)));
#elif defined(__AVX2__)
  return reinterpret_cast<V>(_mm256_sqrt_ps(reinterpret_cast<__m256>(x)));
#else
  V y;
  for (int i = 0; i < kLanes; ++i) y[i] = sqrtf(x[i]);
  return y;
#endif
}

// x^alpha. Powers that are common have forms of their own; the others are e^(alpha log |x|).
SPARSENET_INLINE V vpow(V x, float alpha) {
  if (alpha == 0.5f) return vsqrt(x);
  if (alpha == -0.5f) return 1.f / vsqrt(x);
  if (alpha == -1.f) return 1.f / x;
  if (alpha == 2.f) return x * x;
  if (alpha == 0.f) return splat(1.f);
  const V size = vexp_full(vlog(vabs(x)) * alpha);
  const bool whole = alpha == __builtin_rintf(alpha),
             odd = whole && __builtin_fabsf(alpha) < 16777216.f && (static_cast<int64_t>(alpha) & 1) != 0;
  return x < 0.f ? (whole ? (odd ? -size : size) : splat(NAN)) : size;
}

constexpr float kSqrtHalf = 0.707106781f;        // 1 / sqrt(2)
constexpr float kSqrt2OverPi = 0.797884561f;     // sqrt(2 / pi)
constexpr float kOneOverSqrt2Pi = 0.398942280f;  // 1 / sqrt(2 pi)
constexpr float kGeluCubic = 0.044715f;
constexpr float kFar = 80.f;  // sigmoid(-80) is 2e-35: Silu and Mish are zero below, and slopes are 0 or 1 beyond

SPARSENET_INLINE V smooth_activation(V x, const Act& act) {
  switch (act.kind) {
    case Act::kElu:
      return x < 0.f ? vexpm1(x) * act.alpha : x;
    case Act::kSoftplus:
      return (x < 0.f ? V{} : x) + vlog1p(vexp(-vabs(x)));
    case Act::kSilu: {
      const V a = x * act.alpha;
      return a < -kFar ? V{} : x * vsigmoid(a);
    }
    case Act::kMish:
      return x < -kFar ? V{} : x * vtanh_softplus(x);
    case Act::kGelu: {  // x Phi(x) with Phi(-x) = 1 - Phi(x) = erfc(x / sqrt 2) / 2: nothing cancels
      const V size = vmin(splat(20.f), vabs(x));  // from there on the second term is zero
      return (x < 0.f ? V{} : x) - size * 0.5f * verfc(size * kSqrtHalf);
    }
    case Act::kGeluTanh:
      return x < -20.f ? V{} : x * 0.5f * (1.f + vtanh(x * kSqrt2OverPi * (1.f + x * x * kGeluCubic)));
    case Act::kErf:
      return verf(x);
    case Act::kExp:
      return vexp_full(x);
    case Act::kLog:
      return vlog(x);
    case Act::kPow:
      return vpow(x, act.alpha);
    default:
      return x;
  }
}

// The slope of an activation. `v` is its argument, or its result if its row in graph/activations.cpp says so.
SPARSENET_INLINE V slope(V v, const Act& act) {
  const V one = splat(1.f), zero{};
  switch (act.kind) {
    case Act::kClamp:
      return v > splat(act.low) ? (v < splat(act.high) ? one : zero) : zero;
    case Act::kLeakyRelu:
      return v < zero ? splat(act.alpha) : one;
    case Act::kSigmoid:
      return v * (1.f - v);
    case Act::kHardSigmoid: {
      const V y = v * act.alpha + act.beta;
      return y > zero ? (y < one ? splat(act.alpha) : zero) : zero;
    }
    case Act::kHardSwish:
      return v > splat(-3.f) ? (v < splat(3.f) ? v * (1.f / 3) + 0.5f : one) : zero;
    case Act::kTanh:
      return 1.f - v * v;
    case Act::kElu:
      return v < zero ? vexp(v) * act.alpha : one;
    case Act::kSoftplus:
      return vsigmoid(v);
    case Act::kSilu: {
      const V a = bounded(v * act.alpha, splat(-kFar), splat(kFar)), s = vsigmoid(a);
      return s + a * s * (1.f - s);
    }
    case Act::kMish: {
      const V x = bounded(v, splat(-kFar), splat(kFar)), w = vtanh_softplus(x);
      return w + x * vsigmoid(x) * (1.f - w * w);
    }
    case Act::kGelu: {
      const V x = bounded(v, splat(-20.f), splat(20.f)), half = verfc(vabs(x) * kSqrtHalf) * 0.5f;
      return (x < 0.f ? half : 1.f - half) + x * kOneOverSqrt2Pi * vexp(x * x * -0.5f);
    }
    case Act::kGeluTanh: {
      const V x = bounded(v, splat(-20.f), splat(20.f)), x2 = x * x;
      const V t = vtanh(x * kSqrt2OverPi * (1.f + x2 * kGeluCubic));
      return 0.5f + t * 0.5f + x * 0.5f * (1.f - t * t) * kSqrt2OverPi * (1.f + x2 * (3.f * kGeluCubic));
    }
    case Act::kErf:
      return vexp(-v * v) * (2.f * kSqrt2OverPi * kSqrtHalf);
    case Act::kExp:
    case Act::kLog:
    case Act::kPow:
      break;  // no activations: their gradients are arithmetic
  }
  return one;
}

SPARSENET_INLINE V combine(BinaryOp op, V a, V b) {
  switch (op) {
    case BinaryOp::kAdd:
      return a + b;
    case BinaryOp::kSub:
      return a - b;
    case BinaryOp::kMul:
      return a * b;
    case BinaryOp::kDiv:
      return a / b;
    case BinaryOp::kMax:  // a NaN of either operand is the result
      return a != a ? a : vmax(a, b);
    case BinaryOp::kMin:
      return a != a ? a : vmin(a, b);
    case BinaryOp::kPrelu:
      return a < 0.f ? a * b : a;
  }
  return a;
}

}  // namespace sparsenet::rt::SPARSENET_ISA

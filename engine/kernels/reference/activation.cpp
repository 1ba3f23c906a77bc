#include "kernels/reference/activation.h"

namespace sparsenet::rt {
namespace {

constexpr float kSqrtHalf = 0.707106781f;        // 1 / sqrt(2)
constexpr float kSqrt2OverPi = 0.797884561f;     // sqrt(2 / pi)
constexpr float kOneOverSqrt2Pi = 0.398942280f;  // 1 / sqrt(2 pi)
constexpr float kGeluCubic = 0.044715f;
constexpr float kFar = 80.f;  // sigmoid(-80) is 2e-35: Silu and Mish are zero below, and slopes are 0 or 1 beyond

float sigmoid(float x) {
  return 1.f / (1.f + expf(-x));
}

}  // namespace

// Tables that `sparsenet-convert --select-ops` writes declare these functions for themselves.
namespace activations {

float elu(float x, float alpha) {
  return x < 0.f ? alpha * expm1f(x) : x;
}
float softplus(float x, float) {
  return (x < 0.f ? 0.f : x) + log1pf(expf(-fabsf(x)));
}
float silu(float x, float alpha) {
  return alpha * x < -kFar ? 0.f : x * sigmoid(alpha * x);
}
float mish(float x, float) {
  return x < -kFar ? 0.f : x * tanhf(softplus(x, 0.f));
}
float gelu(float x, float) {
  return x < -20.f ? 0.f : 0.5f * x * erfcf(-x * kSqrtHalf);
}
float gelu_tanh(float x, float) {
  if (x < -20.f) return 0.f;
  return 0.5f * x * (1.f + tanhf(kSqrt2OverPi * x * (1.f + kGeluCubic * x * x)));
}
float erf(float x, float) {
  return erff(x);
}
float exponential(float x, float) {
  return expf(x);
}
float logarithm(float x, float) {
  return logf(x);
}
float power(float x, float alpha) {
  return alpha == 0.5f ? sqrtf(x) : powf(x, alpha);
}

}  // namespace activations

const NamedFormula kActivationFormulas[kFormulas] = {
    {"elu", activations::elu},
    {"softplus", activations::softplus},
    {"silu", activations::silu},
    {"mish", activations::mish},
    {"gelu", activations::gelu},
    {"gelu_tanh", activations::gelu_tanh},
    {"erf", activations::erf},
    {"exponential", activations::exponential},
    {"logarithm", activations::logarithm},
    {"power", activations::power},
};

float slope_one(float v, const Act& act) {
  switch (act.kind) {
    case Act::kClamp:
      return v > act.low && v < act.high ? 1.f : 0.f;
    case Act::kLeakyRelu:
      return v < 0.f ? act.alpha : 1.f;
    case Act::kSigmoid:
      return v * (1.f - v);
    case Act::kHardSigmoid: {
      const float y = act.alpha * v + act.beta;
      return y > 0.f && y < 1.f ? act.alpha : 0.f;
    }
    case Act::kHardSwish:
      return v <= -3.f ? 0.f : v >= 3.f ? 1.f : v / 3.f + 0.5f;
    case Act::kTanh:
      return 1.f - v * v;
    case Act::kElu:
      return v < 0.f ? act.alpha * expf(v) : 1.f;
    case Act::kSoftplus:
      return sigmoid(v);
    case Act::kSilu: {
      const float a = bounded_one(act.alpha * v, -kFar, kFar), s = sigmoid(a);
      return s + a * s * (1.f - s);
    }
    case Act::kMish: {
      const float x = bounded_one(v, -kFar, kFar), w = tanhf(activations::softplus(x, 0.f));
      return w + x * sigmoid(x) * (1.f - w * w);
    }
    case Act::kGelu: {
      const float x = bounded_one(v, -20.f, 20.f);
      return 0.5f * erfcf(-x * kSqrtHalf) + x * kOneOverSqrt2Pi * expf(-0.5f * x * x);
    }
    case Act::kGeluTanh: {
      const float x = bounded_one(v, -20.f, 20.f), t = tanhf(kSqrt2OverPi * x * (1.f + kGeluCubic * x * x));
      return 0.5f * (1.f + t) + 0.5f * x * (1.f - t * t) * kSqrt2OverPi * (1.f + 3.f * kGeluCubic * x * x);
    }
    case Act::kErf:
      return 2.f * kSqrt2OverPi * kSqrtHalf * expf(-v * v);
    case Act::kExp:
    case Act::kLog:
    case Act::kPow:
      break;  // no activations: their gradients are arithmetic
  }
  return 1.f;
}

}  // namespace sparsenet::rt

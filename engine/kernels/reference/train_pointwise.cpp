// Plain kernels of training: elementwise gradients, reductions and parameter updates.
#include "kernels/reference/common.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/walk.h"

namespace sparsenet::rt {
namespace {

void activation_grad_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Operands o{r};
  const float *dy = o.dense(0), *x = o.dense(1);
  float* dx = o.dense(2);
  for (int64_t i = 0; i < o.count(2); ++i) dx[i] = dy[i] * slope_one(x[i], r.step.act);
}

void softmax_grad_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Strided& s = *r.step.strided;
  const float *dy = element(r.step.in, r.arena, 0, 0), *y = element(r.step.in2, r.arena, 0, 0);
  float* dx = element(r.step.out, r.arena, 0, 0);
  for_each(s, 0, s.reduced_from, [&](const Walk& outer) {
    double sum = 0;
    for_each(s, s.reduced_from, s.rank, [&](const Walk& inner) {
      sum += static_cast<double>(dy[outer.in[0] + inner.in[0]]) * y[outer.in[1] + inner.in[1]];
    });
    for_each(s, s.reduced_from, s.rank, [&](const Walk& inner) {
      dx[outer.out + inner.out] =
          static_cast<float>(y[outer.in[1] + inner.in[1]] * (dy[outer.in[0] + inner.in[0]] - sum));
    });
  });
}

void reduce_sum_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Strided& s = *r.step.strided;
  const float* x = element(r.step.in, r.arena, 0, 0);
  float* y = element(r.step.out, r.arena, 0, 0);
  for_each(s, 0, s.reduced_from, [&](const Walk& outer) {
    double sum = 0;
    for_each(s, s.reduced_from, s.rank, [&](const Walk& inner) { sum += x[outer.in[0] + inner.in[0]]; });
    y[outer.out] = static_cast<float>(sum * r.step.train.alpha);
  });
}

void expand_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Strided& s = *r.step.strided;
  const float* x = element(r.step.in, r.arena, 0, 0);
  float* y = element(r.step.out, r.arena, 0, 0);
  for_each(s, 0, s.rank, [&](const Walk& w) { y[w.out] = r.step.train.alpha * x[w.in[0]]; });
}

void expand_pixels_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Operands o{r};
  const int dx = r.step.train.accumulate ? 1 : 2;
  const View& to = o.view(dx);
  const int64_t area = int64_t{to.h} * to.w;
  for (int64_t p = 0; p < pixels_of(to); ++p) {
    for (int32_t c = 0; c < to.c; ++c) {
      const float v = r.step.train.alpha * o.at(0, p / area, c);
      float& target = o.at(dx, p, c);
      target = r.step.train.accumulate ? target + v : v;
    }
  }
}

void dot_pixels_run(const void* state, int32_t, void*) {
  const Operands o{*static_cast<const ReferenceState*>(state)};
  const View& a = o.view(0);
  const int64_t area = int64_t{a.h} * a.w;
  for (int32_t n = 0; n < a.n; ++n) {
    for (int32_t c = 0; c < a.c; ++c) {
      double sum = 0;
      for (int64_t p = n * area; p < (n + 1) * area; ++p) sum += static_cast<double>(o.at(0, p, c)) * o.at(1, p, c);
      o.at(2, n, c) = static_cast<float>(sum);
    }
  }
}

void scale_pixels_run(const void* state, int32_t, void*) {
  const Operands o{*static_cast<const ReferenceState*>(state)};
  const View& x = o.view(0);
  const int64_t area = int64_t{x.h} * x.w;
  for (int64_t p = 0; p < pixels_of(x); ++p) {
    for (int32_t c = 0; c < x.c; ++c) o.at(2, p, c) = o.at(0, p, c) * o.at(1, p / area, c);
  }
}

void fill_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Operands o{r};
  float* to = o.dense(0);
  for (int64_t i = 0; i < o.count(0); ++i) to[i] = r.step.train.alpha;
}

void accumulate_run(const void* state, int32_t, void*) {
  const Operands o{*static_cast<const ReferenceState*>(state)};
  const View& from = o.view(0);
  for (int64_t p = 0; p < pixels_of(from); ++p) {
    for (int32_t c = 0; c < from.c; ++c) o.at(1, p, c) += o.at(0, p, c);
  }
}

void square_sum_run(const void* state, int32_t, void*) {
  const Operands o{*static_cast<const ReferenceState*>(state)};
  const float* x = o.dense(0);
  double sum = 0;
  for (int64_t i = 0; i < o.count(0); ++i) sum += static_cast<double>(x[i]) * x[i];
  float* control = o.dense(1);
  control[kSquareSumHigh] = static_cast<float>(sum);
  control[kSquareSumLow] = static_cast<float>(sum - static_cast<double>(control[kSquareSumHigh]));
}

void update_sgd_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Operands o{r};
  float *w = o.dense(0), *moment = o.dense(2);
  const float *gradient = o.dense(1), *control = o.dense(3);
  const auto decayed = static_cast<int64_t>(r.step.train.alpha);
  for (int64_t i = 0; i < o.count(0); ++i) {
    const float g = gradient[i] * control[kGradientScale] + (i < decayed ? control[kWeightDecay] * w[i] : 0.f);
    moment[i] = control[kMomentum] * moment[i] + g;
    w[i] -= control[kLearningRate] * (control[kNesterov] != 0.f ? g + control[kMomentum] * moment[i] : moment[i]);
  }
}

void update_adam_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Operands o{r};
  float *w = o.dense(0), *first = o.dense(2), *second = o.dense(3);
  const float *gradient = o.dense(1), *control = o.dense(4);
  const auto decayed = static_cast<int64_t>(r.step.train.alpha);
  for (int64_t i = 0; i < o.count(0); ++i) {
    const float decay = i < decayed ? control[kWeightDecay] : 0.f;
    float g = gradient[i] * control[kGradientScale];
    if (control[kDecoupled] == 0.f) g += decay * w[i];
    first[i] = control[kBeta1] * first[i] + (1.f - control[kBeta1]) * g;
    second[i] = control[kBeta2] * second[i] + (1.f - control[kBeta2]) * g * g;
    const float step =
        first[i] * control[kCorrection1] / (std::sqrt(second[i] * control[kCorrection2]) + control[kEpsilon]);
    w[i] -= control[kLearningRate] * (step + (control[kDecoupled] != 0.f ? decay * w[i] : 0.f));
  }
}

constexpr Kernel plain(const char* name, bool (*supports)(const Step&),
                       void (*run)(const void* state, int32_t chunk, void* scratch)) {
  return {name, "reference", supports, reference_query, reference_prepare, run, nullptr, false};
}

}  // namespace

const Kernel kReferenceActivationGrad =
    plain("activation_grad_f32_reference", supports<StepOp::kActivationGrad>, activation_grad_run);
const Kernel kReferenceSoftmaxGrad =
    plain("softmax_grad_f32_reference", supports<StepOp::kSoftmaxGrad>, softmax_grad_run);
const Kernel kReferenceReduceSum = plain("reduce_sum_f32_reference", supports<StepOp::kReduceSum>, reduce_sum_run);
const Kernel kReferenceExpand = plain("expand_f32_reference", supports<StepOp::kExpand>, expand_run);
const Kernel kReferenceExpandPixels =
    plain("expand_pixels_f32_reference", supports<StepOp::kExpandPixels>, expand_pixels_run);
const Kernel kReferenceDotPixels = plain("dot_pixels_f32_reference", supports<StepOp::kDotPixels>, dot_pixels_run);
const Kernel kReferenceScalePixels =
    plain("scale_pixels_f32_reference", supports<StepOp::kScalePixels>, scale_pixels_run);
const Kernel kReferenceFill = plain("fill_f32_reference", supports<StepOp::kFill>, fill_run);
const Kernel kReferenceAccumulate = plain("accumulate_f32_reference", supports<StepOp::kAccumulate>, accumulate_run);
const Kernel kReferenceSquareSum = plain("square_sum_f32_reference", supports<StepOp::kSquareSum>, square_sum_run);
const Kernel kReferenceUpdateSgd = plain("update_sgd_f32_reference", supports<StepOp::kUpdateSgd>, update_sgd_run);
const Kernel kReferenceUpdateAdam = plain("update_adam_f32_reference", supports<StepOp::kUpdateAdam>, update_adam_run);

}  // namespace sparsenet::rt

#include "kernels/reference/train_rounding.h"

#include "kernels/reference/common.h"
#include "runtime/fake_quantize.h"

namespace sparsenet::rt {
namespace {

void fake_quantize_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  for (int64_t p = 0; p < pixels_of(s.out); ++p) {
    for (int32_t c = 0; c < s.out.c; ++c) {
      const float x = activate_one(input_at(r, p, c), s.act);
      *element(s.out, r.arena, p, c) = fake_quantized(x, s.train.alpha, s.train.beta, s.train.epsilon);
    }
  }
}

void round_weight_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Operands o{r};
  const float *weight = o.dense(0), *most = o.dense(1);
  float* out = o.dense(2);
  const int64_t rows = o.count(1), length = o.count(0) / rows;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t begin = row * length;
    float largest = 0.f;
    for (int64_t i = begin; i < begin + length; ++i) {
      const float magnitude = std::fabs(weight[i]);
      largest = magnitude > largest ? magnitude : largest;
    }
    const float scale = row_scale(largest, most[row]);
    const float factor = scale * r.step.train.alpha;
    for (int64_t i = begin; i < begin + length; ++i) out[i] = integer_weight(weight[i], scale) * factor;
  }
}

const Kernel kFakeQuantize = {
    .name = "fake_quantize_f32_reference",
    .backend = "reference",
    .supports = supports<StepOp::kFakeQuantize>,
    .query = reference_query,
    .prepare = reference_prepare,
    .run = fake_quantize_run,
};
const Kernel kRoundWeight = {
    .name = "round_weight_f32_reference",
    .backend = "reference",
    .supports = supports<StepOp::kRoundWeight>,
    .query = reference_query,
    .prepare = reference_prepare,
    .run = round_weight_run,
};

}  // namespace

const Kernel* const kRoundingReferenceKernels[] = {&kFakeQuantize, &kRoundWeight, nullptr};

}  // namespace sparsenet::rt

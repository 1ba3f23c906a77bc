// Plain kernels for ops over general shapes, which are index spaces with a stride per dimension. Such ops are rare in
// classifiers, and small where they occur. Also the list of all plain kernels.
#include "kernels/reference/common.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/walk.h"

namespace sparsenet::rt {
namespace {

float* base(const View& view, uint8_t* arena) {
  return element(view, arena, 0, 0);
}

float combine(BinaryOp op, float a, float b) {
  switch (op) {
    case BinaryOp::kAdd:
      return a + b;
    case BinaryOp::kSub:
      return a - b;
    case BinaryOp::kMul:
      return a * b;
    case BinaryOp::kDiv:
      return a / b;
    default:
      return a;
  }
}

// The other arithmetic has a kernel of its own (choice.cpp), so that devices link it only where a plan has it.
bool binary_supports(const Step& step) {
  return step.op == StepOp::kBinary && step.binary.op <= BinaryOp::kDiv;
}

void binary_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  if (!r.step.strided) {  // same shapes, any channel ranges
    const int64_t pixels = int64_t{r.step.out.n} * r.step.out.h * r.step.out.w;
    for (int64_t p = 0; p < pixels; ++p) {
      for (int32_t c = 0; c < r.step.out.c; ++c) {
        const float v =
            combine(r.step.binary.op, *element(r.step.in, r.arena, p, c), *element(r.step.in2, r.arena, p, c));
        *element(r.step.out, r.arena, p, c) = activate_one(v, r.step.act);
      }
    }
    return;
  }
  const Strided& s = *r.step.strided;
  const float* a = base(r.step.in, r.arena) + s.in_start[0];
  const float* b = base(r.step.in2, r.arena) + s.in_start[1];
  float* y = base(r.step.out, r.arena) + s.out_start;
  for_each(s, 0, s.rank, [&](const Walk& at) {
    y[at.out] = activate_one(combine(r.step.binary.op, a[at.in[0]], b[at.in[1]]), r.step.act);
  });
}

void softmax_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Strided& s = *r.step.strided;
  const float* x = base(r.step.in, r.arena);
  float* y = base(r.step.out, r.arena);
  for_each(s, 0, s.reduced_from, [&](const Walk& outer) {
    const auto along = [&](auto visit) { for_each(s, s.reduced_from, s.rank, visit); };
    float top = -INFINITY;
    along([&](const Walk& at) { top = std::fmax(top, x[outer.in[0] + at.in[0]]); });
    double sum = 0;
    along([&](const Walk& at) {
      const float e = std::exp(x[outer.in[0] + at.in[0]] - top);
      y[outer.out + at.out] = e;
      sum += e;
    });
    along([&](const Walk& at) { y[outer.out + at.out] = static_cast<float>(y[outer.out + at.out] / sum); });
  });
}

void reduce_mean_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Strided& s = *r.step.strided;
  const float* x = base(r.step.in, r.arena);
  float* y = base(r.step.out, r.arena);
  for_each(s, 0, s.reduced_from, [&](const Walk& outer) {
    double sum = 0, count = 0;
    for_each(s, s.reduced_from, s.rank, [&](const Walk& at) {
      sum += x[outer.in[0] + at.in[0]];
      count += 1;
    });
    y[outer.out] = activate_one(static_cast<float>(sum / count), r.step.act);
  });
}

void strided_copy_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Strided& s = *r.step.strided;
  const float* x = base(r.step.in, r.arena) + s.in_start[0];
  float* y = base(r.step.out, r.arena);
  if (s.fill_first) {
    for (int64_t i = 0; i < s.out_elements; ++i) y[i] = s.fill_value;
  }
  y += s.out_start;
  for_each(s, 0, s.rank, [&](const Walk& at) { y[at.out] = x[at.in[0]]; });
}

}  // namespace

const Kernel kReferenceBinary = {
    .name = "binary_f32_reference",
    .backend = "reference",
    .supports = binary_supports,
    .query = reference_query,
    .prepare = reference_prepare,
    .run = binary_run,
};
const Kernel kReferenceSoftmax = {
    .name = "softmax_f32_reference",
    .backend = "reference",
    .supports = supports<StepOp::kSoftmax>,
    .query = reference_query,
    .prepare = reference_prepare,
    .run = softmax_run,
};
const Kernel kReferenceReduceMean = {
    .name = "reduce_mean_f32_reference",
    .backend = "reference",
    .supports = supports<StepOp::kReduceMean>,
    .query = reference_query,
    .prepare = reference_prepare,
    .run = reduce_mean_run,
};
const Kernel kReferenceStridedCopy = {
    .name = "strided_copy_f32_reference",
    .backend = "reference",
    .supports = supports<StepOp::kStridedCopy>,
    .query = reference_query,
    .prepare = reference_prepare,
    .run = strided_copy_run,
};

const Kernel* const kReferenceKernels[] = {
    &kReferenceConv,           &kReferencePool,           &kReferenceGlobalPool,      &kReferenceAffine,
    &kReferenceAttention,      &kReferenceBinary,         &kReferenceSoftmax,         &kReferenceReduceMean,
    &kReferenceStridedCopy,    &kReferenceChoice,         &kReferenceMatMul,          &kReferenceLayerNorm,
    &kReferenceBatchStats,     &kReferenceFoldStats,      &kReferenceUpdateRunning,   &kReferenceNormalizeGrad,
    &kReferenceFoldStatsGrad,  &kReferenceBatchStatsGrad, &kReferenceConvGradWeight,  &kReferenceConvGradInput,
    &kReferenceActivationGrad, &kReferenceMaxPoolGrad,    &kReferenceAveragePoolGrad, &kReferenceSoftmaxGrad,
    &kReferenceReduceSum,      &kReferenceExpand,         &kReferenceExpandPixels,    &kReferenceDotPixels,
    &kReferenceScalePixels,    &kReferenceFill,           &kReferenceAccumulate,      &kReferenceCrossEntropy,
    &kReferenceSquareSum,      &kReferenceUpdateSgd,      &kReferenceUpdateAdam,      nullptr,
};

}  // namespace sparsenet::rt

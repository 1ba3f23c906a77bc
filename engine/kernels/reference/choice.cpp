// Plain kernel of the arithmetic that chooses between its operands: Max, Min, Prelu.
#include "kernels/reference/common.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/walk.h"

namespace sparsenet::rt {
namespace {

bool choice_supports(const Step& step) {
  return step.op == StepOp::kBinary && step.binary.op > BinaryOp::kDiv;
}

// As in NumPy, the maximum and the minimum of a NaN and a number are NaN.
float choose(BinaryOp op, float a, float b) {
  if (op == BinaryOp::kPrelu) return a < 0.f ? a * b : a;
  if (a != a) return a;
  return op == BinaryOp::kMax ? (a > b ? a : b) : (a < b ? a : b);
}

void choice_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const BinaryOp op = r.step.binary.op;
  if (!r.step.strided) {  // same shapes, any channel ranges
    for (int64_t p = 0; p < pixels_of(r.step.out); ++p) {
      for (int32_t c = 0; c < r.step.out.c; ++c) {
        const float v = choose(op, *element(r.step.in, r.arena, p, c), *element(r.step.in2, r.arena, p, c));
        *element(r.step.out, r.arena, p, c) = activate_one(v, r.step.act);
      }
    }
    return;
  }
  const Strided& s = *r.step.strided;
  const float* a = element(r.step.in, r.arena, 0, 0) + s.in_start[0];
  const float* b = element(r.step.in2, r.arena, 0, 0) + s.in_start[1];
  float* y = element(r.step.out, r.arena, 0, 0) + s.out_start;
  for_each(s, 0, s.rank,
           [&](const Walk& at) { y[at.out] = activate_one(choose(op, a[at.in[0]], b[at.in[1]]), r.step.act); });
}

}  // namespace

const Kernel kReferenceChoice = {
    .name = "choice_f32_reference",
    .backend = "reference",
    .supports = choice_supports,
    .query = reference_query,
    .prepare = reference_prepare,
    .run = choice_run,
};

}  // namespace sparsenet::rt

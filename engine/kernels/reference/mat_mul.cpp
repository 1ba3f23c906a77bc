// Plain kernel of matrix products.
#include "kernels/reference/common.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/walk.h"

namespace sparsenet::rt {
namespace {

void mat_mul_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Strided& s = *r.step.strided;
  const float* a = element(r.step.in, r.arena, 0, 0) + s.in_start[0];
  const float* b = element(r.step.in2, r.arena, 0, 0) + s.in_start[1];
  float* y = element(r.step.out, r.arena, 0, 0) + s.out_start;
  const int64_t terms = s.dims[s.rank - 1], a_next = s.in_strides[0][s.rank - 1], b_next = s.in_strides[1][s.rank - 1];
  for_each(s, 0, s.reduced_from, [&](const Walk& at) {
    double sum = 0;
    for (int64_t k = 0; k < terms; ++k) {
      sum += static_cast<double>(a[at.in[0] + k * a_next]) * b[at.in[1] + k * b_next];
    }
    y[at.out] = activate_one(static_cast<float>(sum), r.step.act);
  });
}

}  // namespace

const Kernel kReferenceMatMul = {
    .name = "mat_mul_f32_reference",
    .backend = "reference",
    .supports = supports<StepOp::kMatMul>,
    .query = reference_query,
    .prepare = reference_prepare,
    .run = mat_mul_run,
};

}  // namespace sparsenet::rt

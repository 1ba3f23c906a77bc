// Plain kernel that normalises every pixel over its channels.
#include "kernels/reference/common.h"
#include "kernels/reference/reference.h"

namespace sparsenet::rt {
namespace {

void layer_norm_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  for (int64_t p = 0; p < pixels_of(s.in); ++p) {
    const float* x = element(s.in, r.arena, p, 0);
    float* y = element(s.out, r.arena, p, 0);
    double sum = 0, squares = 0;
    for (int32_t c = 0; c < s.in.c; ++c) sum += x[c];
    const double mean = sum / s.in.c;
    for (int32_t c = 0; c < s.in.c; ++c) squares += (x[c] - mean) * (x[c] - mean);
    const double factor = 1 / std::sqrt(squares / s.in.c + static_cast<double>(s.train.alpha));
    for (int32_t c = 0; c < s.in.c; ++c) {
      const double normal = (x[c] - mean) * factor;
      const double v = s.affine.scale ? normal * number(s.affine.scale, c) + number(s.affine.shift, c) : normal;
      y[c] = activate_one(static_cast<float>(v), s.act);
    }
  }
}

}  // namespace

const Kernel kReferenceLayerNorm = {
    .name = "layer_norm_f32_reference",
    .backend = "reference",
    .supports = supports<StepOp::kLayerNorm>,
    .query = reference_query,
    .prepare = reference_prepare,
    .run = layer_norm_run,
    .types = kFloat32 | kHalfParameters,
};

}  // namespace sparsenet::rt

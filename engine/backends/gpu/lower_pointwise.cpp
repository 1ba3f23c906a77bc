// Elementwise steps: affines, activations, copies of channel ranges, and arithmetic of operands of one size.
#include "backends/gpu/lower_pointwise.h"

#include "backends/gpu/index_space.h"
#include "backends/gpu/kernels/pointwise_params.h"

namespace sparsenet::gpu {

const char* lower_elements(const snp_step& step, int op, Builder& builder) {
  const bool two = op >= 0;
  if (!same_size(*step.in, *step.out) || (two && !same_size(*step.in2, *step.out)))
    return "expected operands of the output's size";
  PointwiseParams p{};
  p.width = in_fours(*step.in) && in_fours(*step.out) && (!two || in_fours(*step.in2)) ? 4 : 1;
  p.in = builder.view(*step.in);
  if (two) p.in2 = builder.view(*step.in2);
  p.out = builder.view(*step.out);
  p.row = static_cast<uint32_t>(step.out->c / p.width);
  p.items = static_cast<uint32_t>(pixels_of(*step.out)) * p.row;
  p.op = op;
  p.affine = affine_of(step, builder);
  p.act = Builder::activation(step.act);
  Launch& launch = builder.launch("pointwise", "pointwise", "", {divide_up(p.items, 256), 1, 1}, {256, 1, 1}, p);
  launch.bytes_read = bytes_of(*step.in, builder) + (two ? bytes_of(*step.in2, builder) : 0);
  launch.bytes_written = bytes_of(*step.out, builder);
  return nullptr;
}

const char* lower_affine(const snp_step& step, Builder& builder) {
  return lower_elements(step, -1, builder);
}

}  // namespace sparsenet::gpu

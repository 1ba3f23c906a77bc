// act(affine(in) op in2): affines, activations, arithmetic of operands of one size, and copies of channel ranges.
#include "elements.cl"
#include "pointwise_params.h"

// Threads of a group have neighbouring channels, then neighbouring pixels.
KERNEL pointwise(ARENA_PARAMETERS, struct PointwiseParams p) {
  const uint item = (uint)GROUP_ID(0) * GROUP_X + (uint)LOCAL_ID(0);
  if (item >= p.items) return;
  const uint pixel = item / p.row;
  const int c = (int)(item - pixel * p.row) * p.width;
  float a[4], b[4];
  load_view_some(arena, weights, p.in, pixel, c, p.width, a);
  if (p.op >= 0) load_view_some(arena, weights, p.in2, pixel, c, p.width, b);
  UNROLL
  for (int k = 0; k < 4; ++k) {
    if (k < p.width) {
      float x = affine_at(weights, p.affine, c + k, a[k]);
      if (p.op >= 0) x = combine(p.op, x, b[k]);
      a[k] = activate(x, p.act);
    }
  }
  store_view_some(arena, weights, p.out, pixel, c, p.width, a);
}

// Steps over index spaces with a distance between elements for each dimension.
#include "elements.cl"
#include "lanes.cl"
#include "spaces.cl"
#include "strided_params.h"

KERNEL strided_pointwise(ARENA_PARAMETERS, struct StridedParams p) {
  const uint item = (uint)GROUP_ID(0) * GROUP_X + (uint)LOCAL_ID(0);
  if (item >= p.items) return;
  const struct Place place = place_in_space(p.space, item);
  GLOBAL const ELEM* in = operand_start(arena, weights, p.in) + place.in;
  float a[4], b[4];
  const bool four = p.width == 4;
  load_some(in, 0, four && p.space.in[0] != 0 ? 4 : 1, a);
  if (four && p.space.in[0] == 0) a[1] = a[2] = a[3] = a[0];
  if (p.op >= 0) {
    GLOBAL const ELEM* in2 = operand_start(arena, weights, p.in2) + place.in2;
    load_some(in2, 0, four && p.space.in2[0] != 0 ? 4 : 1, b);
    if (four && p.space.in2[0] == 0) b[1] = b[2] = b[3] = b[0];
    UNROLL
    for (int k = 0; k < 4; ++k) {
      if (k < p.width) a[k] = activate(combine(p.op, a[k], b[k]), p.act);
    }
  }
  store_some(ARENA_AT(p.out) + place.out, 0, p.width, a);
}

KERNEL fill(ARENA_PARAMETERS, struct FillParams p) {
  const uint item = (uint)GROUP_ID(0) * GROUP_X + (uint)LOCAL_ID(0);
  if (item < p.items) store_elem(ARENA_AT(p.out), item, p.value);
}

// A copy that turns rows into columns, in tiles, so that both sides are read and written along neighbours.
KERNEL transpose(ARENA_PARAMETERS, struct TransposeParams p) {
  LOCAL float tile[32][33];
  uint rest = (uint)GROUP_ID(0);
  const uint along = rest % p.tiles_along * 32;
  rest /= p.tiles_along;
  const uint across = rest % p.tiles_across * 32;
  rest /= p.tiles_across;
  const struct Place place = place_in_space(p.rest, rest);
  GLOBAL const ELEM* in = operand_start(arena, weights, p.in) + place.in;
  GLOBAL ELEM* out = ARENA_AT(p.out) + place.out;
  const uint x = (uint)LOCAL_ID(0);
  for (uint y = (uint)LOCAL_ID(1); y < 32; y += GROUP_Y) {
    if (across + x < p.across && along + y < p.along) {
      tile[y][x] = load_elem(in, (size_t)(across + x) + (size_t)(along + y) * p.in_along);
    }
  }
  BARRIER();
  for (uint y = (uint)LOCAL_ID(1); y < 32; y += GROUP_Y) {
    if (along + x < p.along && across + y < p.across) {
      store_elem(out, (size_t)(along + x) + (size_t)(across + y) * p.out_across, tile[x][y]);
    }
  }
}

// The part of a thread in the rows of its group: `first` and `apart` are for sum_of_lanes().
struct RowPart {
  uint row;
  int lane, first, apart;
};
INLINE struct RowPart row_part(int lanes, int lanes_near) {
  const int id = LOCAL_ID(0), rows = GROUP_X / lanes;
  struct RowPart part;
  const int row = lanes_near ? id / lanes : id % rows;
  part.lane = lanes_near ? id % lanes : id / rows;
  part.first = lanes_near ? row * lanes : row;
  part.apart = lanes_near ? 1 : rows;
  part.row = (uint)GROUP_ID(0) * (uint)rows + (uint)row;
  return part;
}

KERNEL softmax(ARENA_PARAMETERS, struct RowsParams p) {
  LOCAL float tile[GROUP_X];
  const struct RowPart part = row_part(p.lanes, p.lanes_near);
  const uint terms = part.row < p.rows ? p.terms : 0;
  const struct Place place = place_in_space(p.outer, part.row < p.rows ? part.row : 0);
  GLOBAL const ELEM* in = operand_start(arena, weights, p.in) + place.in;
  GLOBAL ELEM* out = ARENA_AT(p.out) + place.out;
  const uint lane = (uint)part.lane, lanes = (uint)p.lanes;

  float top = load_elem(in, 0);  // a row with NaN becomes NaN, whatever its maximum is
  for (uint i = lane; i < terms; i += lanes) {
    const float x = load_elem(in, place_in_space(p.inner, i).in);
    top = x > top ? x : top;
  }
  top = max_of_lanes(tile, part.first, part.apart, part.lane, p.lanes, top);

  float sum = 0.0f;
  for (uint i = lane; i < terms; i += lanes) sum += EXP(load_elem(in, place_in_space(p.inner, i).in) - top);
  sum = sum_of_lanes(tile, part.first, part.apart, part.lane, p.lanes, sum);

  // The input may be the same memory: each thread reads only what it writes itself, and the barriers are behind the
  // other reads.
  for (uint i = lane; i < terms; i += lanes) {
    const struct Place at = place_in_space(p.inner, i);
    store_elem(out, at.out, EXP(load_elem(in, at.in) - top) / sum);
  }
}

KERNEL reduce_mean(ARENA_PARAMETERS, struct RowsParams p) {
  LOCAL float tile[GROUP_X];
  const struct RowPart part = row_part(p.lanes, p.lanes_near);
  const uint terms = part.row < p.rows ? p.terms : 0;
  const struct Place place = place_in_space(p.outer, part.row < p.rows ? part.row : 0);
  GLOBAL const ELEM* in = operand_start(arena, weights, p.in) + place.in;
  const uint lane = (uint)part.lane, lanes = (uint)p.lanes;
  float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  for (uint i = lane; i < terms; i += 4 * lanes) {
    UNROLL
    for (uint k = 0; k < 4; ++k) {
      if (i + k * lanes < terms) sums[k] += load_elem(in, place_in_space(p.inner, i + k * lanes).in);
    }
  }
  const float sum = sum_of_lanes(tile, part.first, part.apart, part.lane, p.lanes,
                                 (sums[0] + sums[1]) + (sums[2] + sums[3]));
  if (part.lane == 0 && part.row < p.rows) {
    store_elem(ARENA_AT(p.out), place.out, activate(sum / (float)p.terms, p.act));
  }
}

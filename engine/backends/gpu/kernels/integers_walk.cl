// Steps over index spaces of bytes, a thread or a group of threads for each element or row.
#include "integers_common.cl"

// The place in an operand of an element, counted over the dimensions [begin, end). The loop has a fixed number of
// rounds, so that the structure stays in registers.
INLINE uint place_of(int element, const int* dims, const int* strides, int begin, int end) {
  uint place = 0;
  UNROLL for (int d = 7; d >= 0; --d) {
    if (d >= begin && d < end) {
      const int rest = element / dims[d];
      place += (uint)(element - rest * dims[d]) * (uint)strides[d];
      element = rest;
    }
  }
  return place;
}

INLINE int operand_at(GLOBAL const uchar* arena, GLOBAL const uchar* weights, struct WalkOperand operand, uint place) {
  const uchar byte = (operand.in_weights ? weights : arena)[operand.start + place];
  return byte_of(byte, 0);
}

KERNEL integer_fill(ARENA_PARAMETERS, struct IntegerWalkParams p) {
  const int element = GROUP_ID(0) * GROUP_X + LOCAL_ID(0);
  if (element < p.count) arena[p.out.start + (uint)element] = (uchar)p.fill;
}

KERNEL integer_copy(ARENA_PARAMETERS, struct IntegerWalkParams p) {
  const int element = GROUP_ID(0) * GROUP_X + LOCAL_ID(0);
  if (element >= p.count) return;
  const int v = operand_at(arena, weights, p.in, place_of(element, p.dims, p.in.strides, 0, p.rank));
  arena[p.out.start + place_of(element, p.dims, p.out.strides, 0, p.rank)] = (uchar)v;
}

KERNEL integer_walk_binary(ARENA_PARAMETERS, struct IntegerWalkParams p) {
  const int element = GROUP_ID(0) * GROUP_X + LOCAL_ID(0);
  if (element >= p.count) return;
  const int a = operand_at(arena, weights, p.in, place_of(element, p.dims, p.in.strides, 0, p.rank));
  const int b = operand_at(arena, weights, p.in2, place_of(element, p.dims, p.in2.strides, 0, p.rank));
  arena[p.out.start + place_of(element, p.dims, p.out.strides, 0, p.rank)] = (uchar)combined(a, b, p.sum);
}

// x * 2^exponent, saturating.
INLINE int saturated_left(int x, int exponent) {
  const long64 wide = (long64)x * ((long64)1 << exponent);
  return wide > 2147483647 ? 2147483647 : wide < -(long64)2147483647 - 1 ? -2147483647 - 1 : (int)wide;
}

// 1 / (1 + x) for x in [0, 1); both stand for their number times 2^31. See engine/runtime/fixed_point.h.
INLINE int reciprocal_of(int x) {
  const int half_sum = (int)(((long64)x + 2147483647 + 1) / 2);
  int y = 1515870810 + high_product(half_sum, -1010580540);  // 48/17 - 32/17 * half_sum, with 2 integer bits
  for (int i = 0; i < 3; ++i) y += saturated_left(high_product(y, (1 << 29) - high_product(half_sum, y)), 2);
  return saturated_left(y, 1);
}

INLINE int leading_zeros(uint x) {
  int zeros = 0;
  for (int step = 16; step > 0; step /= 2) {
    if (x >> (32 - step) == 0) {
      zeros += step;
      x <<= step;
    }
  }
  return zeros;
}

// GROUP_X threads for each row. The exponentials are a table: there are 256 differences from the largest element.
KERNEL integer_softmax(ARENA_PARAMETERS, struct IntegerWalkParams p) {
  LOCAL int shared[GROUP_Y][GROUP_X];
  const int lane = LOCAL_ID(0), row_of_group = GROUP_ID(0) * GROUP_Y + LOCAL_ID(1);
  const int row = MIN(row_of_group, p.count - 1);  // threads of no row meet the barriers, too
  GLOBAL const int* exponentials = INTS_AT(p.table);
  const uint in_row = place_of(row, p.dims, p.in.strides, 0, p.outer);
  const uint out_row = place_of(row, p.dims, p.out.strides, 0, p.outer);
  int top = -128;
  for (int i = lane; i < p.along; i += GROUP_X) {
    top = MAX(top, operand_at(arena, weights, p.in, in_row + place_of(i, p.dims, p.in.strides, p.outer, p.rank)));
  }
  shared[LOCAL_ID(1)][lane] = top;
  for (int step = GROUP_X / 2; step > 0; step /= 2) {
    BARRIER();
    if (lane < step) shared[LOCAL_ID(1)][lane] = MAX(shared[LOCAL_ID(1)][lane], shared[LOCAL_ID(1)][lane + step]);
  }
  BARRIER();
  top = shared[LOCAL_ID(1)][0];
  BARRIER();
  int sum = 0;  // with 12 integer bits
  for (int i = lane; i < p.along; i += GROUP_X) {
    const int x = operand_at(arena, weights, p.in, in_row + place_of(i, p.dims, p.in.strides, p.outer, p.rank));
    const int exponential = exponentials[top - x];
    if (exponential >= 0) sum = wrapped_sum(sum, rounded_quotient(exponential, 12));
  }
  shared[LOCAL_ID(1)][lane] = sum;
  for (int step = GROUP_X / 2; step > 0; step /= 2) {
    BARRIER();
    if (lane < step) {
      shared[LOCAL_ID(1)][lane] = wrapped_sum(shared[LOCAL_ID(1)][lane], shared[LOCAL_ID(1)][lane + step]);
    }
  }
  BARRIER();
  sum = shared[LOCAL_ID(1)][0];
  const int zeros = leading_zeros((uint)sum);
  const int factor = reciprocal_of((int)(((uint)sum << zeros) - 2147483648u));
  for (int i = lane; i < p.along; i += GROUP_X) {
    const int x = operand_at(arena, weights, p.in, in_row + place_of(i, p.dims, p.in.strides, p.outer, p.rank));
    const int exponential = exponentials[top - x];
    int v = -128;
    if (exponential >= 0) v += rounded_quotient(high_product(factor, exponential), 12 - zeros + 31 - 8);
    if (row_of_group < p.count) {
      arena[p.out.start + out_row + place_of(i, p.dims, p.out.strides, p.outer, p.rank)] = (uchar)clamped(v, -128, 127);
    }
  }
}

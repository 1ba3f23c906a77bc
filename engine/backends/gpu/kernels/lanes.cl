// Sums and maxima over threads.
#include "common.cl"

// The sum over the threads of a row, in the order of a binary tree. Each thread of the group has one place in `tile`:
// thread `lane` of a row has place first + lane * apart. All threads of the group call this; `lanes`, how many a row
// has, is a power of two.
INLINE float sum_of_lanes(LOCAL_POINTER float* tile, int first, int apart, int lane, int lanes, float value) {
  BARRIER();
  tile[first + lane * apart] = value;
  BARRIER();
  for (int others = lanes / 2; others > 0; others /= 2) {
    if (lane < others) tile[first + lane * apart] += tile[first + (lane + others) * apart];
    BARRIER();
  }
  return tile[first];
}
// The same for the maximum, which passes over NaN.
INLINE float max_of_lanes(LOCAL_POINTER float* tile, int first, int apart, int lane, int lanes, float value) {
  BARRIER();
  tile[first + lane * apart] = value;
  BARRIER();
  for (int others = lanes / 2; others > 0; others /= 2) {
    if (lane < others) {
      const float other = tile[first + (lane + others) * apart];
      if (other > tile[first + lane * apart]) tile[first + lane * apart] = other;
    }
    BARRIER();
  }
  return tile[first];
}

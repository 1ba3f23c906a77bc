// A product with few rows, as in fully connected layers: windows of 1 x 1 with stride 1. A group of threads computes
// ROWS rows of 32 columns: each thread has four columns and one in 32 of the depth, and sums are added in a fixed order.
#include "conv_common.cl"

#define LANES_N 8
#define LANES_K (GROUP_X / LANES_N)

KERNEL conv_few(ARENA_PARAMETERS, struct ConvDirect p) {
  LOCAL float4 memory[LANES_K * LANES_N];
  LOCAL_POINTER const float* const sums = (LOCAL_POINTER const float*)memory;
  const int lane_n = LOCAL_ID(0) % LANES_N, lane_k = LOCAL_ID(0) / LANES_N;
  const int first_column = GROUP_ID(0) * LANES_N * 4, first_row = GROUP_ID(1) * ROWS;
  float4 sum[ROWS];
  UNROLL for (int i = 0; i < ROWS; ++i) sum[i] = FLOAT4(0.0f, 0.0f, 0.0f, 0.0f);
  for (int k = lane_k; k < p.group_in; k += LANES_K) {
    const float4 w = load_elem4(WEIGHTS_AT(p.weights), (size_t)k * (size_t)p.row_floats +
                                                           (size_t)(first_column + lane_n * 4));
    UNROLL for (int i = 0; i < ROWS; ++i) {
      if (first_row + i < p.images) {
        const float v = start_conv(arena, weights, p.start, (size_t)(first_row + i), k);
        sum[i] = FLOAT4(FMA(v, w.x, sum[i].x), FMA(v, w.y, sum[i].y), FMA(v, w.z, sum[i].z), FMA(v, w.w, sum[i].w));
      }
    }
  }
  UNROLL for (int i = 0; i < ROWS; ++i) {
    if (i > 0) BARRIER();
    memory[LOCAL_ID(0)] = sum[i];
    BARRIER();
    const int column = first_column + LOCAL_ID(0);
    if (LOCAL_ID(0) < LANES_N * 4 && column < p.channels && first_row + i < p.images) {
      float total = 0.0f;
      for (int k = 0; k < LANES_K; ++k) total += sums[k * LANES_N * 4 + LOCAL_ID(0)];
      finish_conv(arena, weights, p.end, (size_t)(first_row + i), column, total);
    }
  }
}

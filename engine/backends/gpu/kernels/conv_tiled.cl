// Convolution as a product of matrices: a row is an output pixel, a column an output channel, and the depth runs over
// the taps of the window and, within a tap, over the input channels of a group. The matrix of windows is never stored:
// a group of threads gathers a tile of it into local memory, with the affine in front applied, while it multiplies the
// tile before.
//
// Macros: TILE_M rows and TILE_N columns of a group of threads, THREAD_M rows of a thread, which has four columns.
// SOURCE tells how a tile is gathered:
//   0: one row for one pixel (a window of 1 x 1, stride 1), four channels at a time;
//   1: any window, four channels at a time;
//   2: any window, channel by channel, by a table [padded_depth] of {y, x, channel, 0} in `weights`, where y and x are
//      those of the tap and y is negative beyond the depth;
//   3: a matrix of float32 numbers in scratch for each group, and weights of float32: see conv_winograd_input.cl.
#include "conv_common.cl"

#define TILE_K 16
#define THREADS_N (TILE_N / 4)
#define THREADS (TILE_M / THREAD_M * THREADS_N)
#define MIN_THREADS (THREAD_M == 8 || SOURCE == 2 ? 512 : 640)  // of a multiprocessor
#define BLOCKS (THREAD_M / 4)          // of four rows, that a thread has
#define BLOCK_ROWS (TILE_M / BLOCKS)   // between them
#define ROW_A (TILE_M + 4)             // floats; against bank conflicts
#define SLAB (TILE_K * (ROW_A + TILE_N))
#define LOADS_B ((TILE_K * TILE_N / 4 + THREADS - 1) / THREADS)
#if SOURCE == 2
#define LOADS_A (TILE_M * TILE_K / THREADS)  // of one element, all of one row
#define ROWS 1
#else
#define LOADS_A (TILE_M * TILE_K / 4 / THREADS)  // of four elements, of one row each
#define ROWS LOADS_A
#endif
#define OUTSIDE (-0x40000000)  // a coordinate that no tap brings into the image

#if SOURCE == 3
INLINE float4 load_weights(GLOBAL const uchar* weights, struct ConvTiled p, size_t at) {
  GLOBAL const float* w = FLOATS_AT(p.weights) + at;
  return *(GLOBAL const float4*)w;
}
#else
INLINE float4 load_weights(GLOBAL const uchar* weights, struct ConvTiled p, size_t at) {
  return load_elem4(WEIGHTS_AT(p.weights), at);
}
#endif

KERNEL_OF(MIN_THREADS) conv_tiled(ARENA_PARAMETERS, struct ConvTiled p) {
  LOCAL float4 memory[2 * SLAB / 4];
  LOCAL_POINTER float* const tile = (LOCAL_POINTER float*)memory;
  const int thread = LOCAL_ID(0);
  const int column_tiles = p.row_floats / TILE_N;
  const int first_row = GROUP_ID(0) / column_tiles * TILE_M, first_column = GROUP_ID(0) % column_tiles * TILE_N;
  const int group = GROUP_ID(1) / p.splits, split = GROUP_ID(1) % p.splits;
  const int begin = split * p.split_depth;
  const int slabs = MAX(0, (MIN(begin + p.split_depth, p.padded_depth) - begin) / TILE_K);

  // The rows that this thread gathers, and where in the depth.
#if SOURCE == 2
  const int gathered_row = thread % TILE_M;
  int k = begin + thread / TILE_M;
#else
  const int gathered_row = thread / 4;
  int k = begin + thread % 4 * 4;
#endif
#if SOURCE == 1 || SOURCE == 2
  int ys[ROWS], xs[ROWS], pixels[ROWS];
  UNROLL for (int i = 0; i < ROWS; ++i) {
    const int row = first_row + gathered_row + i * (THREADS / 4);
    const int image = row / (p.shape.out_h * p.shape.out_w), at = row % (p.shape.out_h * p.shape.out_w);
    ys[i] = row < p.rows ? at / p.shape.out_w * p.shape.stride_h - p.shape.pad_top : OUTSIDE;
    xs[i] = at % p.shape.out_w * p.shape.stride_w - p.shape.pad_left;
    pixels[i] = image * p.shape.in_h * p.shape.in_w;
  }
#endif
#if SOURCE == 1
  int channel = k % p.group_in;
  int tap_y = k / p.group_in / p.shape.kernel_w, tap_x = k / p.group_in % p.shape.kernel_w;
#endif

  uint from_b = (uint)(group * p.padded_depth + begin) * (uint)p.row_floats + (uint)first_column;

  float sum[THREAD_M][4];
  UNROLL for (int i = 0; i < THREAD_M; ++i) {
    UNROLL for (int j = 0; j < 4; ++j) sum[i][j] = 0.0f;
  }
  const int thread_row = thread / THREADS_N * 4, thread_column = thread % THREADS_N * 4;

  // Each turn loads slab s into registers, multiplies slab s - 1, and stores slab s.
  for (int s = 0; s <= slabs; ++s) {
#if SOURCE == 2
    float a[LOADS_A];
#else
    float4 a[LOADS_A];
#endif
    float4 b[LOADS_B];
    if (s < slabs) {
#if SOURCE == 2
      UNROLL for (int i = 0; i < LOADS_A; ++i) {
        GLOBAL const int* place = INTS_AT(p.places) + (k + i * (THREADS / TILE_M)) * 4;
        const int y = ys[0] + place[0], x = xs[0] + place[1];
        a[i] = 0.0f;
        if (y >= 0 && y < p.shape.in_h && x >= 0 && x < p.shape.in_w)
          a[i] = start_conv(arena, weights, p.start, (size_t)(pixels[0] + y * p.shape.in_w + x),
                            group * p.group_in + place[2]);
      }
      k += TILE_K;
#else
      UNROLL for (int i = 0; i < LOADS_A; ++i) {
        a[i] = FLOAT4(0.0f, 0.0f, 0.0f, 0.0f);
#if SOURCE == 1
        const int y = ys[i] + tap_y * p.shape.dilation_h, x = xs[i] + tap_x * p.shape.dilation_w;
        if (k < p.depth && y >= 0 && y < p.shape.in_h && x >= 0 && x < p.shape.in_w)
          a[i] = start_conv4(arena, weights, p.start, (size_t)(pixels[i] + y * p.shape.in_w + x),
                             group * p.group_in + channel);
#else
        const int row = first_row + gathered_row + i * (THREADS / 4);
        if (k < p.depth && row < p.rows) {
#if SOURCE == 0
          a[i] = start_conv4(arena, weights, p.start, (size_t)row, group * p.group_in + k);
#else
          GLOBAL const float* from = (GLOBAL const float*)(scratch + p.source);
          a[i] = *(GLOBAL const float4*)(from + ((size_t)group * (size_t)p.rows + (size_t)row) * (size_t)p.depth + k);
#endif
        }
#endif
      }
      k += TILE_K;
#if SOURCE == 1
      channel += TILE_K;
      while (channel >= p.group_in) {
        channel -= p.group_in;
        if (++tap_x == p.shape.kernel_w) {
          tap_x = 0;
          ++tap_y;
        }
      }
#endif
#endif
      UNROLL for (int i = 0; i < LOADS_B; ++i) {
        const int at = thread + i * THREADS;
        if (TILE_K * TILE_N / 4 % THREADS == 0 || at < TILE_K * TILE_N / 4)
          b[i] = load_weights(weights, p, from_b + (uint)(at / THREADS_N * p.row_floats + at % THREADS_N * 4));
      }
    }
    from_b += (uint)(TILE_K * p.row_floats);
    if (s > 0) {
      LOCAL_POINTER const float* tile_a = tile + (s - 1) % 2 * SLAB + thread_row;
      LOCAL_POINTER const float* tile_b = tile + (s - 1) % 2 * SLAB + TILE_K * ROW_A + thread_column;
      UNROLL for (int kk = 0; kk < TILE_K; ++kk) {
        const float4 y = *(LOCAL_POINTER const float4*)(tile_b + kk * TILE_N);
        UNROLL for (int q = 0; q < BLOCKS; ++q) {
          const float4 x = *(LOCAL_POINTER const float4*)(tile_a + kk * ROW_A + q * BLOCK_ROWS);
          const float rows[4] = {x.x, x.y, x.z, x.w};
          UNROLL for (int i = 0; i < 4; ++i) {
            sum[q * 4 + i][0] = FMA(rows[i], y.x, sum[q * 4 + i][0]);
            sum[q * 4 + i][1] = FMA(rows[i], y.y, sum[q * 4 + i][1]);
            sum[q * 4 + i][2] = FMA(rows[i], y.z, sum[q * 4 + i][2]);
            sum[q * 4 + i][3] = FMA(rows[i], y.w, sum[q * 4 + i][3]);
          }
        }
      }
    }
    if (s < slabs) {
      LOCAL_POINTER float* tile_a = tile + s % 2 * SLAB + gathered_row;
      LOCAL_POINTER float* tile_b = tile + s % 2 * SLAB + TILE_K * ROW_A;
#if SOURCE == 2
      UNROLL for (int i = 0; i < LOADS_A; ++i) tile_a[(thread / TILE_M + i * (THREADS / TILE_M)) * ROW_A] = a[i];
#else
      UNROLL for (int i = 0; i < LOADS_A; ++i) {
        LOCAL_POINTER float* to = tile_a + thread % 4 * 4 * ROW_A + i * (THREADS / 4);
        to[0] = a[i].x;
        to[ROW_A] = a[i].y;
        to[2 * ROW_A] = a[i].z;
        to[3 * ROW_A] = a[i].w;
      }
#endif
      UNROLL for (int i = 0; i < LOADS_B; ++i) {
        const int at = thread + i * THREADS;
        if (TILE_K * TILE_N / 4 % THREADS == 0 || at < TILE_K * TILE_N / 4)
          *(LOCAL_POINTER float4*)(tile_b + at * 4) = b[i];
      }
    }
    BARRIER();
  }

#if SOURCE == 3
  const int is_partial = 1;
#else
  const int is_partial = p.splits > 1;
#endif
  if (is_partial) {
    GLOBAL float* to = (GLOBAL float*)(scratch + p.partial) +
                       (size_t)GROUP_ID(1) * (size_t)p.rows * (size_t)p.row_floats + first_column + thread_column;
    UNROLL for (int i = 0; i < THREAD_M; ++i) {
      const int row = first_row + i / 4 * BLOCK_ROWS + thread_row + i % 4;
      if (row < p.rows)
        *(GLOBAL float4*)(to + (size_t)row * (size_t)p.row_floats) = FLOAT4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
    }
#if SOURCE != 3
    finish_parts(arena, weights, scratch, p, TILE_M, TILE_N, THREADS, (LOCAL_POINTER int*)memory);
#endif
  }
#if SOURCE != 3
  else if (p.end.vectors) {
    const int column = first_column + thread_column;
    UNROLL for (int i = 0; i < THREAD_M; ++i) {
      const int row = first_row + i / 4 * BLOCK_ROWS + thread_row + i % 4;
      if (row < p.rows && column < p.columns)
        finish_conv4(arena, weights, p.end, (size_t)row, group * p.columns + column,
                     FLOAT4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]));
    }
  } else {
    // Sums go through local memory, so that one loop that is not unrolled has the code of all activations once, and
    // neighbouring threads store neighbouring channels.
    UNROLL for (int q = 0; q < BLOCKS; ++q) {
      if (q > 0) BARRIER();
      UNROLL for (int i = 0; i < 4; ++i) {
        *(LOCAL_POINTER float4*)(tile + (thread_row + i) * TILE_N + thread_column) =
            FLOAT4(sum[q * 4 + i][0], sum[q * 4 + i][1], sum[q * 4 + i][2], sum[q * 4 + i][3]);
      }
      BARRIER();
      for (int at = thread; at < BLOCK_ROWS * TILE_N; at += THREADS) {
        const int row = first_row + q * BLOCK_ROWS + at / TILE_N, column = first_column + at % TILE_N;
        if (row < p.rows && column < p.columns)
          finish_conv(arena, weights, p.end, (size_t)row, group * p.columns + column, tile[at]);
      }
    }
  }
#endif
}

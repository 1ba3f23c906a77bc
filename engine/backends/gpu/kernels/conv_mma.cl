// Convolution as a product of matrices on tensor cores: what conv_tiled.cl does, with factors in float16 and sums in
// float32. Each warp of 32 threads has a tile of 32 x 32, in pieces of 16 x 8; see tensor_cores.cl.
//
// Macros: TILE_M rows and TILE_N columns of a group of threads, and STORE_HALF. POINTWISE is 1 for a window of 1 x 1
// with stride 1, else 0. Channels are gathered four at a time.
#include "conv_common.cl"
#include "tensor_cores.cl"

#define TILE_K 32
#define WARPS_N (TILE_N / 32)
#define THREADS (TILE_M * TILE_N / 32)
#define LOADS_A (TILE_M * TILE_K / 4 / THREADS)
#define LOADS_B (TILE_K * TILE_N / 4 / THREADS)
#define ROW_STEP (THREADS / (TILE_K / 4))  // rows between two loads of a thread
#define ROW_A (TILE_K + 8)                 // halves; against bank conflicts, like ROW_B
#define ROW_B (TILE_N + 8)
#define SLAB (TILE_M * ROW_A + TILE_K * ROW_B)  // halves
#define OUTSIDE (-0x40000000)                   // a coordinate that no tap brings into the image

#if TILE_M / 2 * TILE_N * 2 > 2 * SLAB
#error "half of the tile's sums must fit where the slabs were"
#endif

// Four channels of a pixel as bits of float16 numbers, with the affine in front applied.
INLINE uint2 gather(GLOBAL const uchar* arena, GLOBAL const uchar* weights, struct ConvStart s, size_t pixel, int c) {
  const float4 v = start_conv4(arena, weights, s, pixel, c);
  return UINT2(two_halves(v.x, v.y), two_halves(v.z, v.w));
}

KERNEL_OF(THREADS == 32 ? 384 : 512) conv_mma(ARENA_PARAMETERS, struct ConvTiled p) {
  LOCAL float4 memory[2 * SLAB / 8];
  MMA_EXCHANGE(exchange, THREADS)
  LOCAL_POINTER ushort* const tile = (LOCAL_POINTER ushort*)memory;
  const int thread = LOCAL_ID(0);
  const int column_tiles = p.row_floats / TILE_N;
  const int first_row = GROUP_ID(0) / column_tiles * TILE_M, first_column = GROUP_ID(0) % column_tiles * TILE_N;
  const int group = GROUP_ID(1) / p.splits, split = GROUP_ID(1) % p.splits;
  const int begin = split * p.split_depth;
  const int slabs = MAX(0, (MIN(begin + p.split_depth, p.padded_depth) - begin) / TILE_K);
  const int warp_row = thread / 32 / WARPS_N * 32, warp_column = thread / 32 % WARPS_N * 32, lane = thread % 32;

  // The rows that this thread gathers, and where in the depth.
  const int gathered_row = thread / (TILE_K / 4), gathered_k = thread % (TILE_K / 4) * 4;
  int k = begin + gathered_k;
#if POINTWISE == 0
  int ys[LOADS_A], xs[LOADS_A], pixels[LOADS_A];
  UNROLL for (int i = 0; i < LOADS_A; ++i) {
    const int row = first_row + gathered_row + i * ROW_STEP;
    const int image = row / (p.shape.out_h * p.shape.out_w), at = row % (p.shape.out_h * p.shape.out_w);
    ys[i] = row < p.rows ? at / p.shape.out_w * p.shape.stride_h - p.shape.pad_top : OUTSIDE;
    xs[i] = at % p.shape.out_w * p.shape.stride_w - p.shape.pad_left;
    pixels[i] = image * p.shape.in_h * p.shape.in_w;
  }
  int channel = k % p.group_in;
  int tap_y = k / p.group_in / p.shape.kernel_w, tap_x = k / p.group_in % p.shape.kernel_w;
#endif
  uint from_b = (uint)(group * p.padded_depth + begin) * (uint)p.row_floats + (uint)first_column;

  float sum[2][4][4];  // of 16 rows, of 8 columns, and the four of them that this thread has
  UNROLL for (int i = 0; i < 2; ++i) {
    UNROLL for (int j = 0; j < 4; ++j) {
      UNROLL for (int e = 0; e < 4; ++e) sum[i][j][e] = 0.0f;
    }
  }

  // Each turn loads slab s into registers, multiplies slab s - 1, and stores slab s.
  for (int s = 0; s <= slabs; ++s) {
    uint2 a[LOADS_A], b[LOADS_B];
    if (s < slabs) {
      UNROLL for (int i = 0; i < LOADS_A; ++i) {
        a[i] = UINT2(0, 0);
#if POINTWISE
        const int row = first_row + gathered_row + i * ROW_STEP;
        if (k < p.depth && row < p.rows)
          a[i] = gather(arena, weights, p.start, (size_t)row, group * p.group_in + k);
#else
        const int y = ys[i] + tap_y * p.shape.dilation_h, x = xs[i] + tap_x * p.shape.dilation_w;
        if (k < p.depth && y >= 0 && y < p.shape.in_h && x >= 0 && x < p.shape.in_w)
          a[i] = gather(arena, weights, p.start, (size_t)(pixels[i] + y * p.shape.in_w + x),
                        group * p.group_in + channel);
#endif
      }
      k += TILE_K;
#if POINTWISE == 0
      channel += TILE_K;
      while (channel >= p.group_in) {
        channel -= p.group_in;
        if (++tap_x == p.shape.kernel_w) {
          tap_x = 0;
          ++tap_y;
        }
      }
#endif
      UNROLL for (int i = 0; i < LOADS_B; ++i) {
        const int at = thread + i * THREADS;
        const uint element = from_b + (uint)(at / (TILE_N / 4) * p.row_floats + at % (TILE_N / 4) * 4);
        b[i] = *(GLOBAL const uint2*)(weights + p.weights + (size_t)element * 2);
      }
    }
    from_b += (uint)(TILE_K * p.row_floats);
    if (s > 0) {
      LOCAL_POINTER const ushort* tile_a = tile + (s - 1) % 2 * SLAB;
      LOCAL_POINTER const ushort* tile_b = tile_a + TILE_M * ROW_A;
      UNROLL for (int kk = 0; kk < TILE_K; kk += 16) {
        uint4 x[2], y[2];
        UNROLL for (int i = 0; i < 2; ++i) {
          x[i] = load_matrices(tile_a + (warp_row + i * 16) * ROW_A + kk, ROW_A, lane);
          y[i] = load_matrices_transposed(tile_b + kk * ROW_B + warp_column + i * 16, ROW_B, lane);
        }
        MMA(sum, x, y, exchange, thread)
      }
    }
    if (s < slabs) {
      LOCAL_POINTER ushort* tile_a = tile + s % 2 * SLAB;
      LOCAL_POINTER ushort* tile_b = tile_a + TILE_M * ROW_A;
      UNROLL for (int i = 0; i < LOADS_A; ++i)
        *(LOCAL_POINTER uint2*)(tile_a + (gathered_row + i * ROW_STEP) * ROW_A + gathered_k) = a[i];
      UNROLL for (int i = 0; i < LOADS_B; ++i) {
        const int at = thread + i * THREADS;
        *(LOCAL_POINTER uint2*)(tile_b + at / (TILE_N / 4) * ROW_B + at % (TILE_N / 4) * 4) = b[i];
      }
    }
    BARRIER();
  }

  // Sums go through local memory, first the upper 16 rows of every warp, then the lower ones: threads then have
  // neighbouring channels, and one loop that is not unrolled has the code of all activations once.
  LOCAL_POINTER float* const sums = (LOCAL_POINTER float*)memory;
  GLOBAL float* const partial =
      (GLOBAL float*)(scratch + p.partial) + (size_t)GROUP_ID(1) * (size_t)p.rows * (size_t)p.row_floats;
  UNROLL for (int i = 0; i < 2; ++i) {
    if (i > 0) BARRIER();
    UNROLL for (int j = 0; j < 4; ++j) {
      LOCAL_POINTER float* to =
          sums + (warp_row / 2 + lane / 4) * TILE_N + warp_column + j * 8 + lane % 4 * 2;
      to[0] = sum[i][j][0];
      to[1] = sum[i][j][1];
      to[8 * TILE_N] = sum[i][j][2];
      to[8 * TILE_N + 1] = sum[i][j][3];
    }
    BARRIER();
    const int step = p.splits > 1 || p.end.vectors ? 4 : 1;
    for (int at = thread * step; at < TILE_M / 2 * TILE_N; at += THREADS * step) {
      const int staged = at / TILE_N, column = first_column + at % TILE_N;
      const int row = first_row + staged / 16 * 32 + i * 16 + staged % 16;
      if (row >= p.rows) continue;
      if (p.splits > 1) {
        *(GLOBAL float4*)(partial + (size_t)row * (size_t)p.row_floats + column) =
            *(LOCAL_POINTER const float4*)(sums + at);
      } else if (column < p.columns) {
        if (p.end.vectors)
          finish_conv4(arena, weights, p.end, (size_t)row, group * p.columns + column,
                       *(LOCAL_POINTER const float4*)(sums + at));
        else
          finish_conv(arena, weights, p.end, (size_t)row, group * p.columns + column, sums[at]);
      }
    }
  }
  if (p.splits > 1) {
    BARRIER();
    finish_parts(arena, weights, scratch, p, TILE_M, TILE_N, THREADS, (LOCAL_POINTER int*)memory);
  }
}

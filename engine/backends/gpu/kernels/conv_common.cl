// The input and the end of convolutions, which their kernels share.
#include "common.cl"
#include "conv_params.h"

// The end of a convolution: out = act(value + bias + in2), for channel c of a pixel. Conv kernels share it.
INLINE void finish_conv(GLOBAL uchar* arena, GLOBAL const uchar* weights, struct ConvEnd e, size_t pixel, int c,
                        float value) {
  if (e.has_bias) value += FLOATS_AT(e.bias)[c];
  if (e.has_in2) value += load_view(arena, weights, e.in2, pixel, c);
  store_view(arena, weights, e.out, pixel, c, activate(value, e.act));
}

INLINE float4 bounded4(float4 v, float low, float high) {
  return FLOAT4(bounded(v.x, low, high), bounded(v.y, low, high), bounded(v.z, low, high), bounded(v.w, low, high));
}

// The same for channels c to c + 3, where ConvEnd::vectors says that all of them are neighbours in memory and that the
// activation is SNP_CLAMP.
INLINE void finish_conv4(GLOBAL uchar* arena, GLOBAL const uchar* weights, struct ConvEnd e, size_t pixel, int c,
                         float4 value) {
  if (e.has_bias) {
    GLOBAL const float* bias = FLOATS_AT(e.bias) + c;
    value = FLOAT4(value.x + bias[0], value.y + bias[1], value.z + bias[2], value.w + bias[3]);
  }
  if (e.has_in2) {
    const float4 v = load_elem4(ARENA_AT(e.in2.offset), pixel * (size_t)e.in2.stride + (size_t)c);
    value = FLOAT4(value.x + v.x, value.y + v.y, value.z + v.z, value.w + v.w);
  }
  store_elem4(ARENA_AT(e.out.offset), pixel * (size_t)e.out.stride + (size_t)c,
              bounded4(value, e.act.low, e.act.high));
}

// The input of a convolution at a pixel, with the affine in front of it: for channel c, and for c to c + 3, which
// ConvStart::vectors says to be neighbours in memory.
INLINE float start_conv(GLOBAL const uchar* arena, GLOBAL const uchar* weights, struct ConvStart s, size_t pixel,
                        int c) {
  const float v = load_view(arena, weights, s.in, pixel, c);
  if (!s.has_affine) return v;
  return bounded(FMA(v, FLOATS_AT(s.scale)[c], FLOATS_AT(s.shift)[c]), s.low, s.high);
}
INLINE float4 start_conv4(GLOBAL const uchar* arena, GLOBAL const uchar* weights, struct ConvStart s, size_t pixel,
                          int c) {
  GLOBAL const ELEM* from = (GLOBAL const ELEM*)arena;
  size_t at;
  if (s.in.table < 0) {
    at = s.in.offset + pixel * (size_t)s.in.stride + (size_t)c;
  } else {
    GLOBAL const int* entry = (GLOBAL const int*)(weights + (size_t)(uint)s.in.table * 16) + 2 * c;
    const int stride = entry[1];
    if (stride < 0) from = (GLOBAL const ELEM*)weights;
    at = (uint)entry[0] + pixel * (size_t)(stride < 0 ? ~stride : stride);
  }
  const float4 v = load_elem4(from, at);
  if (!s.has_affine) return v;
  GLOBAL const float* a = FLOATS_AT(s.scale) + c;
  GLOBAL const float* b = FLOATS_AT(s.shift) + c;
  return bounded4(FLOAT4(FMA(v.x, a[0], b[0]), FMA(v.y, a[1], b[1]), FMA(v.z, a[2], b[2]), FMA(v.w, a[3], b[3])), s.low,
                  s.high);
}

// A product whose depth is split has one group of threads for each part of a tile, which stores its sums in scratch. The
// group that comes here last adds all parts, in their order, so that the result does not depend on which one that is:
// whether this is it. Each tile has a counter behind the arena, `counters` * 256 bytes from its start, which is 0 before
// and after every kernel. `flag` is local memory that nobody uses.
INLINE int is_last_part(GLOBAL uchar* arena, uint counters, int tile, int parts, LOCAL_POINTER int* flag) {
  FENCE();
  GLOBAL_BARRIER();
  if (LOCAL_ID(0) == 0) {
    GLOBAL int* counter = (GLOBAL int*)(arena + (size_t)counters * 256) + tile;
    const int last = COUNT_UP(counter) == parts - 1;
    if (last) *counter = 0;
    flag[0] = last;
    FENCE();
  }
  GLOBAL_BARRIER();
  return flag[0];
}

// After a group has stored its part of a tile of `rows` x `columns`: the last one adds all of them, which the others have
// written (hence volatile), and ends the convolution.
INLINE void finish_parts(GLOBAL uchar* arena, GLOBAL const uchar* weights, GLOBAL const uchar* scratch,
                         struct ConvTiled p, int rows, int columns, int threads, LOCAL_POINTER int* flag) {
  const int column_tiles = p.row_floats / columns, tiles = (p.rows + rows - 1) / rows * column_tiles;
  const int group = GROUP_ID(1) / p.splits, tile = GROUP_ID(0);
  if (!is_last_part(arena, p.counters, group * tiles + tile, p.splits, flag)) return;
  const size_t part = (size_t)p.rows * (size_t)p.row_floats;
  GLOBAL const volatile float* parts =
      (GLOBAL const volatile float*)(scratch + p.partial) + (size_t)(group * p.splits) * part;
  ROLLED for (int at = LOCAL_ID(0); at < rows * columns; at += threads) {
    const int row = tile / column_tiles * rows + at / columns, column = tile % column_tiles * columns + at % columns;
    if (row >= p.rows || column >= p.columns) continue;
    GLOBAL const volatile float* from = parts + (size_t)row * (size_t)p.row_floats + column;
    float sum = from[0];
    ROLLED for (int i = 1; i < p.splits; ++i) sum += from[(size_t)i * part];
    finish_conv(arena, weights, p.end, (size_t)row, group * p.columns + column, sum);
  }
}

// Elements one by one or in fours, and what is done with them.
#include "common.cl"

// Where channel c of a view lies: its element at pixel 0, and the number of elements from pixel to pixel.
struct Channel {
  GLOBAL const ELEM* first;
  size_t stride;
};
INLINE struct Channel channel_of(GLOBAL const uchar* arena, GLOBAL const uchar* weights, struct ViewArg v, int c) {
  struct Channel channel;
  if (v.table < 0) {
    channel.first = (GLOBAL const ELEM*)arena + v.offset + c;
    channel.stride = (size_t)v.stride;
    return channel;
  }
  GLOBAL const int* entry = (GLOBAL const int*)(weights + (size_t)(uint)v.table * 16) + 2 * c;
  const int stride = entry[1];
  channel.first = (GLOBAL const ELEM*)(stride < 0 ? weights : arena) + (uint)entry[0];
  channel.stride = (size_t)(stride < 0 ? ~stride : stride);
  return channel;
}

// What one thread loads and stores: an element (width 1), or four neighbours at a multiple of four elements (width 4).
INLINE void load_some(GLOBAL const ELEM* p, size_t i, int width, float* v) {
  if (width == 4) {
    const float4 four = load_elem4(p, i);
    v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
  } else {
    v[0] = load_elem(p, i);
    v[1] = v[2] = v[3] = 0.0f;
  }
}
INLINE void store_some(GLOBAL ELEM* p, size_t i, int width, const float* v) {
  if (width == 4) {
    store_elem4(p, i, FLOAT4(v[0], v[1], v[2], v[3]));
  } else {
    store_elem(p, i, v[0]);
  }
}
INLINE void load_view_some(GLOBAL const uchar* arena, GLOBAL const uchar* weights, struct ViewArg view, size_t pixel,
                           int c, int width, float* v) {
  const struct Channel channel = channel_of(arena, weights, view, c);
  load_some(channel.first, pixel * channel.stride, width, v);
}
INLINE void store_view_some(GLOBAL uchar* arena, GLOBAL const uchar* weights, struct ViewArg view, size_t pixel, int c,
                            int width, const float* v) {
  if (view.table < 0) {
    store_some((GLOBAL ELEM*)arena + view.offset, pixel * (size_t)view.stride + (size_t)c, width, v);
    return;
  }
  GLOBAL const int* entry = (GLOBAL const int*)(weights + (size_t)(uint)view.table * 16) + 2 * c;
  store_some((GLOBAL ELEM*)arena + (uint)entry[0], pixel * (size_t)entry[1], width, v);
}

INLINE float affine_at(GLOBAL const uchar* weights, struct AffineArg a, int c, float x) {
  if (!a.on) return x;
  return bounded(FMA(x, FLOATS_AT(a.scale)[c], FLOATS_AT(a.shift)[c]), a.low, a.high);
}

// The arithmetic of snp_binary_op; of another number, the first operand.
INLINE float combine(int op, float a, float b) {
  switch (op) {
    case 0: return a + b;
    case 1: return a - b;
    case 2: return a * b;
    case 3: return a / b;
    case 4: return a != a ? a : a > b ? a : b;
    case 5: return a != a ? a : a < b ? a : b;
    case 6: return a < 0.0f ? a * b : a;
  }
  return a;
}

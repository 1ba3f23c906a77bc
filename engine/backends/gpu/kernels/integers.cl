// Steps over bytes whose outputs depend on the same channels of their inputs: from element to element, and pools. A
// thread computes one quad of channels at one pixel.
#include "integers_common.cl"

INLINE uint packed(const int* v) {
  uint word = 0;
  UNROLL for (int i = 0; i < 4; ++i) word |= (uint)(v[i] & 255) << (8 * i);
  return word;
}

// Copies, with or without a scale for each channel.
KERNEL integer_affine(ARENA_PARAMETERS, struct IntegerMapParams p) {
  const int item = GROUP_ID(0) * GROUP_X + LOCAL_ID(0);
  const int pixel = item / p.quads, index = item - pixel * p.quads;
  if (pixel >= p.pixels) return;
  uint word = load_quad(arena, weights, quad_of(weights, p.in, index), pixel);
  if (p.has_scales) word = scaled_quad(word, INTS_AT(p.scales) + 12 * (size_t)index);
  store_quad(arena, quad_of(weights, p.out, index), pixel, word);
}

KERNEL integer_table(ARENA_PARAMETERS, struct IntegerMapParams p) {
  const int item = GROUP_ID(0) * GROUP_X + LOCAL_ID(0);
  const int pixel = item / p.quads, index = item - pixel * p.quads;
  if (pixel >= p.pixels) return;
  const uint word = load_quad(arena, weights, quad_of(weights, p.in, index), pixel);
  GLOBAL const uchar* table = weights + p.table;
  uint result = 0;
  UNROLL for (int i = 0; i < 4; ++i) result |= (uint)table[byte_of(word, i) + 128] << (8 * i);
  store_quad(arena, quad_of(weights, p.out, index), pixel, result);
}

KERNEL integer_binary(ARENA_PARAMETERS, struct IntegerMapParams p) {
  const int item = GROUP_ID(0) * GROUP_X + LOCAL_ID(0);
  const int pixel = item / p.quads, index = item - pixel * p.quads;
  if (pixel >= p.pixels) return;
  const uint a = load_quad(arena, weights, quad_of(weights, p.in, index), pixel);
  const uint b = load_quad(arena, weights, quad_of(weights, p.in2, index), pixel);
  int v[4];
  UNROLL for (int i = 0; i < 4; ++i) v[i] = combined(byte_of(a, i), byte_of(b, i), p.sum);
  store_quad(arena, quad_of(weights, p.out, index), pixel, packed(v));
}

// From integers to integers of another scale.
KERNEL integer_rescale(ARENA_PARAMETERS, struct IntegerMapParams p) {
  const int item = GROUP_ID(0) * GROUP_X + LOCAL_ID(0);
  const int pixel = item / p.quads, index = item - pixel * p.quads;
  if (pixel >= p.pixels) return;
  const uint word = load_quad(arena, weights, quad_of(weights, p.in, index), pixel);
  int v[4];
  UNROLL for (int i = 0; i < 4; ++i) {
    const int x = p.is_unsigned ? byte_of(word, i) & 255 : byte_of(word, i);
    const int y = multiplied(x - p.in_zero, p.value, p.shift, p.twice);
    v[i] = clamped(wrapped_sum(y, p.out_zero), p.low, p.high);
  }
  store_quad(arena, quad_of(weights, p.out, index), pixel, packed(v));
}

// The float32 quotient x / divisor, rounded to an integer: halves to the even one, or away from zero. The device's own
// division need only be close. It tells near which h = integer + 1/2 the quotient lies, if near any; on which side of h
// follows from the remainder x - h * divisor, which a fused multiply-add gives exactly where it matters. The float32
// quotient is h itself if the remainder is at most half a unit in the last place of h, times the divisor. NaN gives 0;
// large numbers give 1024, since a byte holds none of them.
INLINE int rounded_ratio(float x, float divisor, int away) {
  const float size = FABS(x);
  if (x != x) return 0;
  const float ratio = size / divisor;
  int v = 1024;
  if (ratio < 1024.0f) {
    v = (int)ratio;
    const float rest = ratio - (float)v;
    if (rest > 0.75f) {
      ++v;
    } else if (rest > 0.25f) {
      const float h = (float)v + 0.5f;
      const float remainder = FMA(-h, divisor, size);
      float above = 5.9604644775390625e-8f;  // 2^-24, half a unit in the last place of numbers from 1 to 2
      while (above * 33554432.0f <= h) above *= 2.0f;
      if (v == 0) above *= 0.5f;
      const float below = v == 0 ? above * 0.5f : above;  // 0.5 is a power of two: units are smaller below it
      if (remainder > above * divisor) {
        ++v;
      } else if (remainder >= -below * divisor) {
        v += away ? 1 : v & 1;
      }
    }
  }
  return x < 0.0f ? -v : v;
}

KERNEL integer_quantize(ARENA_PARAMETERS, struct IntegerMapParams p) {
  const int item = GROUP_ID(0) * GROUP_X + LOCAL_ID(0);
  const int pixel = item / p.quads, index = item - pixel * p.quads;
  if (pixel >= p.pixels) return;
  const struct ByteQuad out = quad_of(weights, p.out, index);
  int v[4];
  UNROLL for (int i = 0; i < 4; ++i) {
    v[i] = 0;
    if (i < out.count) {
      const float x = load_view(arena, weights, p.real, (size_t)pixel, out.channel + i) * p.factor;
      v[i] = clamped(rounded_ratio(x, p.divisor, p.twice) + p.out_zero, p.low, p.high);
    }
  }
  store_quad(arena, out, pixel, packed(v));
}

KERNEL integer_dequantize(ARENA_PARAMETERS, struct IntegerMapParams p) {
  const int item = GROUP_ID(0) * GROUP_X + LOCAL_ID(0);
  const int pixel = item / p.quads, index = item - pixel * p.quads;
  if (pixel >= p.pixels) return;
  const struct ByteQuad in = quad_of(weights, p.in, index);
  const uint word = load_quad(arena, weights, in, pixel);
  UNROLL for (int i = 0; i < 4; ++i) {
    if (i < in.count) {
      const float x = (float)(byte_of(word, i) - p.in_zero);
      store_view(arena, weights, p.real, (size_t)pixel, in.channel + i, x * p.factor);
    }
  }
}

// sum / count, halves rounded up, or away from zero.
INLINE int rounded_average(int sum, int count, int away) {
  if (away) return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
  const int above = sum + count / 2;
  return (above >= 0 ? above : above - count + 1) / count;
}

KERNEL integer_pool(ARENA_PARAMETERS, struct IntegerPoolParams p) {
  const int item = GROUP_ID(0) * GROUP_X + LOCAL_ID(0);
  const int pixel = item / p.quads, index = item - pixel * p.quads;
  if (pixel >= p.pixels) return;
  const int row = pixel / p.out_w, image = row / p.out_h;
  const int top = (row - image * p.out_h) * p.stride_h - p.pad_top;
  const int left = (pixel - row * p.out_w) * p.stride_w - p.pad_left;
  // The part of the window that is in the input, and the rows and columns of it that are in the padded input.
  const int first_y = MAX(top, 0), last_y = MIN(top + p.kernel_h, p.in_h);
  const int first_x = MAX(left, 0), last_x = MIN(left + p.kernel_w, p.in_w);
  const int padded = MAX(MIN(top + p.kernel_h, p.in_h + p.pad_bottom) - top, 0) *
                     MAX(MIN(left + p.kernel_w, p.in_w + p.pad_right) - left, 0);
  const int inside = MAX(last_y - first_y, 0) * MAX(last_x - first_x, 0);
  const struct ByteQuad quad = quad_of(weights, p.in, index);
  GLOBAL const int* scales = INTS_AT(p.scales) + 12 * (size_t)index;
  int v[4];
  UNROLL for (int i = 0; i < 4; ++i) v[i] = p.is_max ? -128 : 0;
  for (int y = first_y; y < last_y; ++y) {
    for (int x = first_x; x < last_x; ++x) {
      uint word = load_quad(arena, weights, quad, (image * p.in_h + y) * p.in_w + x);
      if (p.has_scales) word = scaled_quad(word, scales);
      UNROLL for (int i = 0; i < 4; ++i) v[i] = p.is_max ? MAX(v[i], byte_of(word, i)) : v[i] + byte_of(word, i);
    }
  }
  const int count = p.count_padding ? padded : inside;
  UNROLL for (int i = 0; i < 4; ++i) {
    if (!p.is_max) {
      if (p.count_padding) v[i] += (padded - inside) * p.in_zero;
      v[i] = rounded_average(v[i], count > 0 ? count : 1, p.twice);
    }
    v[i] = clamped(v[i], p.low, p.high);
  }
  store_quad(arena, quad_of(weights, p.out, index), pixel, packed(v));
}

// A group of threads for GROUP_X quads of an image, GROUP_Y for each of them.
KERNEL integer_mean(ARENA_PARAMETERS, struct IntegerMeanParams p) {
  LOCAL int partial[4][GROUP_Y][GROUP_X];
  const int blocks = (p.quads + GROUP_X - 1) / GROUP_X;
  const int image = GROUP_ID(0) / blocks, index = (GROUP_ID(0) - image * blocks) * GROUP_X + LOCAL_ID(0);
  const int used = MIN(index, p.quads - 1);  // threads of no quad meet the barriers, too
  const struct ByteQuad quad = quad_of(weights, p.in, used);
  GLOBAL const int* scales = INTS_AT(p.scales) + 12 * (size_t)used;
  int v[4] = {0, 0, 0, 0};
  for (int pixel = LOCAL_ID(1); pixel < p.pixels; pixel += GROUP_Y) {
    uint word = load_quad(arena, weights, quad, image * p.pixels + pixel);
    if (p.has_scales) word = scaled_quad(word, scales);
    UNROLL for (int i = 0; i < 4; ++i) v[i] = wrapped_sum(v[i], byte_of(word, i) - p.in_zero);
  }
  UNROLL for (int i = 0; i < 4; ++i) partial[i][LOCAL_ID(1)][LOCAL_ID(0)] = v[i];
  for (int step = GROUP_Y / 2; step > 0; step /= 2) {
    BARRIER();
    if (LOCAL_ID(1) < step) {
      UNROLL for (int i = 0; i < 4; ++i) {
        partial[i][LOCAL_ID(1)][LOCAL_ID(0)] =
            wrapped_sum(partial[i][LOCAL_ID(1)][LOCAL_ID(0)], partial[i][LOCAL_ID(1) + step][LOCAL_ID(0)]);
      }
    }
  }
  BARRIER();
  if (LOCAL_ID(1) == 0 && index < p.quads) {
    UNROLL for (int i = 0; i < 4; ++i) {
      const int y = multiplied(partial[i][0][LOCAL_ID(0)], p.value, p.shift, p.twice);
      v[i] = clamped(wrapped_sum(y, p.out_zero), p.low, p.high);
    }
    store_quad(arena, quad_of(weights, p.out, index), image, packed(v));
  }
}

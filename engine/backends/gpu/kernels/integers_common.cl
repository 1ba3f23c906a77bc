// Arithmetic of integers, and views of bytes. Every bit is that of engine/runtime/requantize.h; sums are modulo 2^32.
// Four bytes make a word, the first one in its lowest bits.
#include "common.cl"
#include "integers_params.h"

#define WORDS_AT(byte) ((GLOBAL const uint*)(weights + (byte)))

INLINE int byte_of(uint word, int i) { return (int)(word << (24 - 8 * i)) >> 24; }

// sum + the products of the signed bytes of two words. DOT_PRODUCT: the device has an instruction for it.
INLINE int dot4(uint a, uint b, int sum) {
#if defined(DOT_PRODUCT) && (defined(__CUDACC__) || defined(__CUDACC_RTC__))
  return __dp4a((int)a, (int)b, sum);
#elif defined(DOT_PRODUCT) && defined(__opencl_c_integer_dot_product_input_4x8bit_packed)
  return (int)((uint)sum + (uint)dot_4x8packed_ss_int(a, b));
#else
  return (int)((uint)sum + (uint)(byte_of(a, 0) * byte_of(b, 0) + byte_of(a, 1) * byte_of(b, 1) +
                                  byte_of(a, 2) * byte_of(b, 2) + byte_of(a, 3) * byte_of(b, 3)));
#endif
}

// a * b / 2^31, halves rounded up. They are never both -2^31.
INLINE int high_product(int a, int b) { return (int)(((long64)a * b + ((long64)1 << 30)) >> 31); }

// x / 2^exponent, halves rounded away from zero.
INLINE int rounded_quotient(int x, int exponent) {
  if (exponent == 0) return x;
  return (int)(((long64)x + ((long64)1 << (exponent - 1)) - (x < 0 ? 1 : 0)) >> exponent);
}

// x * value * 2^(shift - 31), rounded once, or twice.
INLINE int multiplied(int x, int value, int shift, int twice) {
  if (twice) {
    const int left = shift > 0 ? shift : 0;
    return rounded_quotient(high_product((int)((uint)x << left), value), left - shift);
  }
  const int right = 31 - shift;
  return (int)(((long64)x * value + ((long64)1 << (right - 1))) >> right);
}

INLINE int clamped(int x, int low, int high) { return x < low ? low : x > high ? high : x; }

INLINE int wrapped_sum(int a, int b) { return (int)((uint)a + (uint)b); }

INLINE int combined(int a, int b, struct IntegerSum s) {
  int v;
  a -= s.in_zero;
  b -= s.in2_zero;
  if (s.op == 2) {
    v = multiplied(a * b, s.value, s.shift, s.twice);
  } else {
    const int x = multiplied((int)((uint)a << s.left_shift), s.value, s.shift, s.twice);
    const int y = multiplied((int)((uint)b << s.left_shift), s.value2, s.shift2, s.twice);
    v = multiplied((int)(s.op == 1 ? (uint)x - (uint)y : (uint)x + (uint)y), s.value_out, s.shift_out, s.twice);
  }
  return clamped(wrapped_sum(v, s.out_zero), s.low, s.high);
}

// Quads of a view (integers_params.h).
INLINE struct ByteQuad quad_of(GLOBAL const uchar* weights, struct QuadView v, int index) {
  struct ByteQuad quad;
  if (v.table >= 0) return ((GLOBAL const struct ByteQuad*)(weights + (size_t)(uint)v.table * 16))[index];
  const int left = v.channels - 4 * index;
  quad.base = v.offset + 4u * (uint)index;
  quad.stride = v.stride;
  quad.channel = 4 * index;
  quad.count = left < 4 ? left : v.full;
  return quad;
}

// Bytes beyond the quad's count are copies of its last one.
INLINE uint load_quad(GLOBAL const uchar* arena, GLOBAL const uchar* weights, struct ByteQuad quad, int pixel) {
  const int in_weights = quad.stride < 0, last = quad.count - 1;
  GLOBAL const uchar* at =
      (in_weights ? weights : arena) + (quad.base + (uint)pixel * (uint)(in_weights ? ~quad.stride : quad.stride));
  if (quad.count == BYTE_QUAD_WORD) return *(GLOBAL const uint*)at;
  return (uint)at[0] | (uint)at[MIN(1, last)] << 8 | (uint)at[MIN(2, last)] << 16 | (uint)at[MIN(3, last)] << 24;
}

INLINE void store_quad(GLOBAL uchar* arena, struct ByteQuad quad, int pixel, uint word) {
  GLOBAL uchar* at = arena + (quad.base + (uint)pixel * (uint)quad.stride);
  if (quad.count == BYTE_QUAD_WORD) {
    *(GLOBAL uint*)at = word;
    return;
  }
  UNROLL for (int i = 0; i < 4; ++i) {
    if (i < quad.count) at[i] = (uchar)(word >> (8 * i));
  }
}

// The channels of a quad, brought to the scale of the layer that reads them: (x * multiplier + addend) >> shift, with
// three integers for each.
INLINE uint scaled_quad(uint word, GLOBAL const int* scales) {
  uint result = 0;
  UNROLL for (int i = 0; i < 4; ++i) {
    const int v = (byte_of(word, i) * scales[3 * i] + scales[3 * i + 1]) >> scales[3 * i + 2];
    result |= (uint)(clamped(v, -128, 127) & 255) << (8 * i);
  }
  return result;
}

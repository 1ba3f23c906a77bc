// Depthwise convolution: one input channel for each output channel. A thread computes STRIP neighbouring pixels of a row
// for WIDTH channels, 1 or 4.
#include "conv_common.cl"
#include "elements.cl"

#if WIDTH == 4
#define VECTOR float4
#define ZERO FLOAT4(0.0f, 0.0f, 0.0f, 0.0f)
#define BOUNDED bounded4
#define MULTIPLY_ADD(a, b, c) FLOAT4(FMA(a.x, b.x, c.x), FMA(a.y, b.y, c.y), FMA(a.z, b.z, c.z), FMA(a.w, b.w, c.w))
#define LOAD load_elem4
#define LOAD_FLOATS(p) FLOAT4((p)[0], (p)[1], (p)[2], (p)[3])
#else
#define VECTOR float
#define ZERO 0.0f
#define BOUNDED bounded
#define MULTIPLY_ADD(a, b, c) FMA(a, b, c)
#define LOAD load_elem
#define LOAD_FLOATS(p) (*(p))
#endif

KERNEL_OF(1024) conv_direct(ARENA_PARAMETERS, struct ConvDirect p) {
  LOCAL float4 memory[STRIP * GROUP_X * WIDTH / 4];
  LOCAL_POINTER float* const sums = (LOCAL_POINTER float*)memory;
  const int strips = (p.shape.out_w + STRIP - 1) / STRIP;
  const int vectors = p.channels / WIDTH;
  const uint at = (uint)GROUP_ID(0) * GROUP_X + (uint)LOCAL_ID(0);
  const int channel = (int)(at % (uint)vectors) * WIDTH;
  const int strip = (int)(at / (uint)vectors);
  const int line = strip / strips;  // of all images
  if (line < p.images * p.shape.out_h) {
    const int first = strip % strips * STRIP;
    const int image = line / p.shape.out_h;
    const int top = line % p.shape.out_h * p.shape.stride_h - p.shape.pad_top;
    const struct Channel in = channel_of(arena, weights, p.start.in, channel);
    VECTOR scale = ZERO, shift = ZERO;
    if (p.start.has_affine) {
      scale = LOAD_FLOATS(FLOATS_AT(p.start.scale) + channel);
      shift = LOAD_FLOATS(FLOATS_AT(p.start.shift) + channel);
    }
    VECTOR sum[STRIP];
    UNROLL for (int i = 0; i < STRIP; ++i) sum[i] = ZERO;
    ROLLED for (int tap_y = 0; tap_y < p.shape.kernel_h; ++tap_y) {
      const int y = top + tap_y * p.shape.dilation_h;
      if (y < 0 || y >= p.shape.in_h) continue;
      const int pixel = (image * p.shape.in_h + y) * p.shape.in_w;
      ROLLED for (int tap_x = 0; tap_x < p.shape.kernel_w; ++tap_x) {
        const VECTOR w = LOAD(WEIGHTS_AT(p.weights), (size_t)(tap_y * p.shape.kernel_w + tap_x) * (size_t)p.row_floats +
                                                         (size_t)channel);
        UNROLL for (int i = 0; i < STRIP; ++i) {
          const int x = (first + i) * p.shape.stride_w - p.shape.pad_left + tap_x * p.shape.dilation_w;
          if (x >= 0 && x < p.shape.in_w) {
            VECTOR v = LOAD(in.first, (size_t)(pixel + x) * in.stride);
            if (p.start.has_affine) v = BOUNDED(MULTIPLY_ADD(v, scale, shift), p.start.low, p.start.high);
            sum[i] = MULTIPLY_ADD(v, w, sum[i]);
          }
        }
      }
    }
    const int pixel = line * p.shape.out_w + first;
    const int count = MIN(STRIP, p.shape.out_w - first);
#if WIDTH == 4
    if (p.end.vectors) {
      UNROLL for (int i = 0; i < STRIP; ++i) {
        if (i < count) finish_conv4(arena, weights, p.end, (size_t)(pixel + i), channel, sum[i]);
      }
    } else
#endif
    {
      // Through local memory of this thread's own, so that the loop below need not be unrolled.
      UNROLL for (int i = 0; i < STRIP; ++i) {
#if WIDTH == 4
        *(LOCAL_POINTER float4*)(sums + (LOCAL_ID(0) * STRIP + i) * 4) = sum[i];
#else
        sums[LOCAL_ID(0) * STRIP + i] = sum[i];
#endif
      }
      ROLLED for (int i = 0; i < count * WIDTH; ++i)
        finish_conv(arena, weights, p.end, (size_t)(pixel + i / WIDTH), channel + i % WIDTH,
                    sums[LOCAL_ID(0) * STRIP * WIDTH + i]);
    }
  }
}

// Convolution in groups with few channels each. A thread computes STRIP neighbouring pixels of a row for one output
// channel, and reads WIDTH input channels at a time, 1 or 4.
#include "conv_common.cl"

KERNEL_OF(1024) conv_grouped(ARENA_PARAMETERS, struct ConvDirect p) {
  LOCAL float sums[STRIP * GROUP_X];
  const int strips = (p.shape.out_w + STRIP - 1) / STRIP;
  const uint at = (uint)GROUP_ID(0) * GROUP_X + (uint)LOCAL_ID(0);
  const int channel = (int)(at % (uint)p.channels);
  const int strip = (int)(at / (uint)p.channels);
  const int line = strip / strips;  // of all images
  if (line < p.images * p.shape.out_h) {
    const int first = strip % strips * STRIP;
    const int image = line / p.shape.out_h;
    const int top = line % p.shape.out_h * p.shape.stride_h - p.shape.pad_top;
    const int first_in = channel / p.group_out * p.group_in;
    float sum[STRIP];
    UNROLL for (int i = 0; i < STRIP; ++i) sum[i] = 0.0f;
    ROLLED for (int tap_y = 0; tap_y < p.shape.kernel_h; ++tap_y) {
      const int y = top + tap_y * p.shape.dilation_h;
      if (y < 0 || y >= p.shape.in_h) continue;
      const int pixel = (image * p.shape.in_h + y) * p.shape.in_w;
      ROLLED for (int tap_x = 0; tap_x < p.shape.kernel_w; ++tap_x) {
        GLOBAL const ELEM* w = WEIGHTS_AT(p.weights) +
                               (size_t)(tap_y * p.shape.kernel_w + tap_x) * (size_t)p.group_in * (size_t)p.row_floats +
                               channel;
        ROLLED for (int c = 0; c < p.group_in; c += WIDTH) {
          float factors[WIDTH];
          UNROLL for (int j = 0; j < WIDTH; ++j) factors[j] = load_elem(w, (size_t)(c + j) * (size_t)p.row_floats);
          UNROLL for (int i = 0; i < STRIP; ++i) {
            const int x = (first + i) * p.shape.stride_w - p.shape.pad_left + tap_x * p.shape.dilation_w;
            if (x >= 0 && x < p.shape.in_w) {
#if WIDTH == 4
              const float4 v = start_conv4(arena, weights, p.start, (size_t)(pixel + x), first_in + c);
              sum[i] = FMA(v.x, factors[0], sum[i]);
              sum[i] = FMA(v.y, factors[1], sum[i]);
              sum[i] = FMA(v.z, factors[2], sum[i]);
              sum[i] = FMA(v.w, factors[3], sum[i]);
#else
              sum[i] = FMA(start_conv(arena, weights, p.start, (size_t)(pixel + x), first_in + c), factors[0], sum[i]);
#endif
            }
          }
        }
      }
    }
    const int pixel = line * p.shape.out_w + first;
    const int count = MIN(STRIP, p.shape.out_w - first);
    // Through local memory of this thread's own, so that the loop below need not be unrolled.
    UNROLL for (int i = 0; i < STRIP; ++i) sums[i * GROUP_X + LOCAL_ID(0)] = sum[i];
    ROLLED for (int i = 0; i < count; ++i)
      finish_conv(arena, weights, p.end, (size_t)(pixel + i), channel, sums[i * GROUP_X + LOCAL_ID(0)]);
  }
}

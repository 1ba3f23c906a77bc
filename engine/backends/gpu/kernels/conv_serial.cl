// Convolution on CPUs, where the threads of a group only take turns on a core: a thread alone computes ROWS output
// pixels of p.thread_panels panels of PANEL output channels. It is the product of matrices of conv_tiled.cl: for CHUNK
// of the depth at a time, a thread gathers the windows of its pixels, with the affine in front applied, and multiplies
// them with its panels of the weights. Only OpenCL has CPUs: this is plain OpenCL C.
#include "conv_common.cl"

#define ROWS 8
#define PANEL 16
#define PANELS 4  // of a thread, at most
#define CHUNK 256

// `count` channels of a pixel.
INLINE void gather(GLOBAL const uchar* arena, GLOBAL const uchar* weights, struct ConvStart s, size_t pixel,
                   int channel, int count, float* to) {
  if (s.vectors) {
    for (int i = 0; i < count; i += 4) vstore4(start_conv4(arena, weights, s, pixel, channel + i), 0, to + i);
  } else {
    for (int i = 0; i < count; ++i) to[i] = start_conv(arena, weights, s, pixel, channel + i);
  }
}

KERNEL conv_serial(ARENA_PARAMETERS, struct ConvSerial p) {
  float windows[ROWS][CHUNK];
  float16 sums[PANELS][ROWS];
  const int tiles = (p.rows + ROWS - 1) / ROWS;
  const int first_row = GROUP_ID(0) % tiles * ROWS, group = GROUP_ID(0) / tiles;
  const int first_panel = GROUP_ID(1) * p.thread_panels, panels = MIN(p.thread_panels, p.panels - first_panel);

  for (int begin = 0; begin < p.depth; begin += CHUNK) {
    const int count = MIN(CHUNK, p.depth - begin);
    for (int i = 0; i < ROWS; ++i) {
      const int row = MIN(first_row + i, p.rows - 1);  // Behind the last one, it is the last one again.
      const int image = row / (p.shape.out_h * p.shape.out_w), at = row % (p.shape.out_h * p.shape.out_w);
      const int top = at / p.shape.out_w * p.shape.stride_h - p.shape.pad_top;
      const int left = at % p.shape.out_w * p.shape.stride_w - p.shape.pad_left;
      int tap_y = begin / p.group_in / p.shape.kernel_w, tap_x = begin / p.group_in % p.shape.kernel_w;
      int channel = begin % p.group_in;
      for (int k = 0; k < count;) {
        const int channels = MIN(p.group_in - channel, count - k);
        const int y = top + tap_y * p.shape.dilation_h, x = left + tap_x * p.shape.dilation_w;
        if (y >= 0 && y < p.shape.in_h && x >= 0 && x < p.shape.in_w) {
          gather(arena, weights, p.start, (size_t)((image * p.shape.in_h + y) * p.shape.in_w + x),
                 group * p.group_in + channel, channels, &windows[i][k]);
        } else {
          for (int c = 0; c < channels; ++c) windows[i][k + c] = 0.0f;
        }
        k += channels;
        channel = 0;
        if (++tap_x == p.shape.kernel_w) {
          tap_x = 0;
          ++tap_y;
        }
      }
    }
    for (int panel = 0; panel < panels; ++panel) {
      const size_t from = ((size_t)(group * p.panels + first_panel + panel) * (size_t)p.depth + (size_t)begin) * PANEL;
      float16 sum[ROWS];
      UNROLL for (int i = 0; i < ROWS; ++i) sum[i] = begin == 0 ? (float16)(0.0f) : sums[panel][i];
      ROLLED for (int k = 0; k < count; ++k) {
#ifdef STORE_HALF
        const float16 w = vload_half16((size_t)k, WEIGHTS_AT(p.weights) + from);
#else
        const float16 w = vload16((size_t)k, WEIGHTS_AT(p.weights) + from);
#endif
        UNROLL for (int i = 0; i < ROWS; ++i) sum[i] = fma((float16)(windows[i][k]), w, sum[i]);
      }
      UNROLL for (int i = 0; i < ROWS; ++i) sums[panel][i] = sum[i];
    }
  }

  for (int panel = 0; panel < panels; ++panel) {
    const int column = (first_panel + panel) * PANEL, columns = MIN(PANEL, p.columns - column);
    for (int i = 0; i < MIN(ROWS, p.rows - first_row); ++i) {
      const float* sum = (const float*)&sums[panel][i];
      const size_t pixel = (size_t)(first_row + i);
      if (p.end.vectors) {
        for (int c = 0; c < columns; c += 4)
          finish_conv4(arena, weights, p.end, pixel, group * p.columns + column + c, vload4(0, sum + c));
      } else {
        for (int c = 0; c < columns; ++c)
          finish_conv(arena, weights, p.end, pixel, group * p.columns + column + c, sum[c]);
      }
    }
  }
}

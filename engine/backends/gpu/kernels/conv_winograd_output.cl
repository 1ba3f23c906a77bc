// Winograd's convolution, last of three launches: see conv_winograd_input.cl. One thread for each tile and channel.
#include "conv_common.cl"

KERNEL conv_winograd_output(ARENA_PARAMETERS, struct ConvWinograd p) {
  const size_t at = (size_t)GROUP_ID(0) * GROUP_X + (size_t)LOCAL_ID(0);
  const int channel = (int)(at % (size_t)p.channels);
  const size_t tile = at / (size_t)p.channels, tiles = (size_t)p.images * (size_t)(p.tiles_h * p.tiles_w);
  if (tile < tiles) {
    const int image = (int)(tile / (size_t)(p.tiles_h * p.tiles_w));
    const int in_image = (int)(tile % (size_t)(p.tiles_h * p.tiles_w));
    const int top = in_image / p.tiles_w * 4, left = in_image % p.tiles_w * 4;
    GLOBAL const float* from = (GLOBAL const float*)(scratch + p.scratch) + tile * (size_t)p.row_floats + channel;
    const size_t matrix = tiles * (size_t)p.row_floats;
    float m[6][6];
    UNROLL for (int i = 0; i < 6; ++i) {
      UNROLL for (int j = 0; j < 6; ++j) m[i][j] = from[(size_t)(i * 6 + j) * matrix];
    }
    // Row y of A^T is (y == 0, 1, s, 2^y, s 2^y, y == 3) with s = (-1)^y. The loops are not unrolled, so that the code
    // of all activations is there once.
    ROLLED for (int y = 0; y < MIN(4, p.shape.out_h - top); ++y) {
      const float s = y % 2 == 0 ? 1.0f : -1.0f, two = (float)(1 << y);
      const float head = y == 0 ? 1.0f : 0.0f, tail = y == 3 ? 1.0f : 0.0f;
      float t[6];
      UNROLL for (int j = 0; j < 6; ++j)
        t[j] = FMA(head, m[0][j], FMA(s, m[2][j], m[1][j])) + FMA(two, FMA(s, m[4][j], m[3][j]), tail * m[5][j]);
      ROLLED for (int x = 0; x < MIN(4, p.shape.out_w - left); ++x) {
        const float sx = x % 2 == 0 ? 1.0f : -1.0f, two_x = (float)(1 << x);
        const float head_x = x == 0 ? 1.0f : 0.0f, tail_x = x == 3 ? 1.0f : 0.0f;
        const float value = FMA(head_x, t[0], FMA(sx, t[2], t[1])) + FMA(two_x, FMA(sx, t[4], t[3]), tail_x * t[5]);
        const size_t pixel = ((size_t)image * (size_t)p.shape.out_h + (size_t)(top + y)) * (size_t)p.shape.out_w +
                             (size_t)(left + x);
        finish_conv(arena, weights, p.end, pixel, channel, value);
      }
    }
  }
}

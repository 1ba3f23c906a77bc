// Winograd's convolution F(4x4, 3x3), first of three launches: the input's tiles of 6 x 6 pixels, which overlap by two,
// become 36 matrices [tiles][channels] in scratch. conv_tiled.cl multiplies each with the transformed weights, and
// conv_winograd_output.cl transforms the products back. One thread for each tile and channel.
#include "conv_common.cl"

// B^T v for the six numbers at v0 to v5.
#define TRANSFORM(v0, v1, v2, v3, v4, v5)                                     \
  {                                                                           \
    const float a = v4 - 4.0f * v2, b = v3 - 4.0f * v1, c = v4 - v2, d = 2.0f * (v3 - v1); \
    const float first = FMA(4.0f, v0, FMA(-5.0f, v2, v4)), last = FMA(4.0f, v1, FMA(-5.0f, v3, v5)); \
    v0 = first;                                                               \
    v1 = a + b;                                                               \
    v2 = a - b;                                                               \
    v3 = c + d;                                                               \
    v4 = c - d;                                                               \
    v5 = last;                                                                \
  }

KERNEL conv_winograd_input(ARENA_PARAMETERS, struct ConvWinograd p) {
  const size_t at = (size_t)GROUP_ID(0) * GROUP_X + (size_t)LOCAL_ID(0);
  const int channel = (int)(at % (size_t)p.row_floats);
  const size_t tile = at / (size_t)p.row_floats, tiles = (size_t)p.images * (size_t)(p.tiles_h * p.tiles_w);
  if (tile < tiles) {
    const int image = (int)(tile / (size_t)(p.tiles_h * p.tiles_w));
    const int in_image = (int)(tile % (size_t)(p.tiles_h * p.tiles_w));
    const int top = in_image / p.tiles_w * 4 - p.shape.pad_top, left = in_image % p.tiles_w * 4 - p.shape.pad_left;
    float v[6][6];
    UNROLL for (int i = 0; i < 6; ++i) {
      UNROLL for (int j = 0; j < 6; ++j) {
        const int y = top + i, x = left + j;
        v[i][j] = 0.0f;
        if (channel < p.channels && y >= 0 && y < p.shape.in_h && x >= 0 && x < p.shape.in_w)
          v[i][j] = start_conv(arena, weights, p.start,
                               ((size_t)image * (size_t)p.shape.in_h + (size_t)y) * (size_t)p.shape.in_w + (size_t)x,
                               channel);
      }
    }
    UNROLL for (int j = 0; j < 6; ++j) TRANSFORM(v[0][j], v[1][j], v[2][j], v[3][j], v[4][j], v[5][j])
    UNROLL for (int i = 0; i < 6; ++i) TRANSFORM(v[i][0], v[i][1], v[i][2], v[i][3], v[i][4], v[i][5])
    GLOBAL float* to = (GLOBAL float*)(scratch + p.scratch) + tile * (size_t)p.row_floats + channel;
    const size_t matrix = tiles * (size_t)p.row_floats;
    UNROLL for (int i = 0; i < 6; ++i) {
      UNROLL for (int j = 0; j < 6; ++j) to[(size_t)(i * 6 + j) * matrix] = v[i][j];
    }
  }
}

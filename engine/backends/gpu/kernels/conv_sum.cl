// Adds the parts of a product whose depth was split, in their order. One thread for each row and channel.
#include "conv_common.cl"

KERNEL conv_sum(ARENA_PARAMETERS, struct ConvSum p) {
  const size_t at = (size_t)GROUP_ID(0) * GROUP_X + (size_t)LOCAL_ID(0);
  const int channels = p.columns * p.groups;
  const size_t row = at / (size_t)channels;
  const int channel = (int)(at % (size_t)channels);
  if (row < (size_t)p.rows) {
    const size_t part = (size_t)p.rows * (size_t)p.row_floats;
    GLOBAL const float* from = (GLOBAL const float*)(scratch + p.partial) +
                               (size_t)(channel / p.columns) * (size_t)p.splits * part + row * (size_t)p.row_floats +
                               channel % p.columns;
    float sum = from[0];
    for (int i = 1; i < p.splits; ++i) sum += from[(size_t)i * part];
    finish_conv(arena, weights, p.end, row, channel, sum);
  }
}

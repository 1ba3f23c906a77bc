// Pooling over windows, and over whole images.
#include "elements.cl"
#include "lanes.cl"
#include "pool_params.h"

KERNEL pool(ARENA_PARAMETERS, struct PoolParams p) {
  const uint item = (uint)GROUP_ID(0) * GROUP_X + (uint)LOCAL_ID(0);
  if (item >= p.items) return;
  const uint pixel = item / p.row;
  const int c = (int)(item - pixel * p.row) * p.width;
  const uint line = pixel / (uint)p.out_w, image = line / (uint)p.out_h;
  const int ox = (int)(pixel - line * (uint)p.out_w), oy = (int)(line - image * (uint)p.out_h);

  // The window, as it is and within the input.
  const int top = oy * p.stride_h - p.pad_top, left = ox * p.stride_w - p.pad_left;
  const int y0 = MAX(top, 0), y1 = MIN(top + p.kernel_h, p.in_h);
  const int x0 = MAX(left, 0), x1 = MIN(left + p.kernel_w, p.in_w);

  const struct Channel channel = channel_of(arena, weights, p.in, c);
  float total[4] = {p.start, p.start, p.start, p.start};
  for (int y = y0; y < y1; ++y) {
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int x = x0; x < x1; ++x) {
      const size_t from = ((size_t)image * (size_t)p.in_h + (size_t)y) * (size_t)p.in_w + (size_t)x;
      float v[4];
      load_some(channel.first, from * channel.stride, p.width, v);
      UNROLL
      for (int k = 0; k < 4; ++k) {
        if (k < p.width) v[k] = affine_at(weights, p.affine, c + k, v[k]);
        if (p.max) {
          if (v[k] > total[k]) total[k] = v[k];  // passes over NaN, as fmax() does
        } else {
          sum[k] += v[k];
        }
      }
    }
    if (!p.max) {
      UNROLL
      for (int k = 0; k < 4; ++k) total[k] += sum[k];
    }
  }

  int count = MAX(y1 - y0, 0) * MAX(x1 - x0, 0);
  if (p.count_include_pad) {
    const int high = MIN(top + p.kernel_h, p.in_h + p.pad_bottom) - top;
    const int wide = MIN(left + p.kernel_w, p.in_w + p.pad_right) - left;
    count = MAX(high, 0) * MAX(wide, 0);
  }
  const float divisor = p.max || count < 1 ? 1.0f : (float)count;
  UNROLL
  for (int k = 0; k < 4; ++k) {
    if (k < p.width) total[k] = activate(p.max ? total[k] : total[k] / divisor, p.act);
  }
  store_view_some(arena, weights, p.out, pixel, c, p.width, total);
}

// A group has `block` channels of an image: neighbouring threads have neighbouring channels, the others share the
// pixels.
KERNEL global_pool(ARENA_PARAMETERS, struct GlobalPoolParams p) {
  LOCAL float tile[GROUP_X];
  const int image = GROUP_ID(0) / p.blocks, id = LOCAL_ID(0);
  const int column = id % p.block, lane = id / p.block, lanes = GROUP_X / p.block;
  const int c = GROUP_ID(0) % p.blocks * p.block + column;
  float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  if (c < p.channels) {
    const struct Channel channel = channel_of(arena, weights, p.in, c);
    const size_t next = (size_t)lanes * channel.stride;
    GLOBAL const ELEM* from =
        channel.first + ((size_t)image * (size_t)p.pixels + (size_t)lane) * channel.stride;
    for (int left = p.pixels - lane; left > 0; left -= 4 * lanes) {
      UNROLL
      for (int k = 0; k < 4; ++k) {
        if (k * lanes < left) sums[k] += affine_at(weights, p.affine, c, load_elem(from, (size_t)k * next));
      }
      from += 4 * next;
    }
  }
  const float sum = sum_of_lanes(tile, column, p.block, lane, lanes, (sums[0] + sums[1]) + (sums[2] + sums[3]));
  if (lane == 0 && c < p.channels) {
    const float mean = activate(sum / (float)p.count, p.act);
    if (p.to_scratch) {
      ((GLOBAL float*)(scratch + p.means))[(size_t)image * (size_t)p.channels + (size_t)c] = mean;
    } else {
      store_view(arena, weights, p.out, (size_t)image, c, mean);
    }
  }
}

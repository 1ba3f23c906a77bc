// Channel attention, for small images in one launch, with a group for each image; otherwise in four: means
// (global_pool of pool.cl), the two products, and the scaling.
#include "elements.cl"
#include "lanes.cl"
#include "attention_params.h"

// Threads of a group: outputs of a product times parts of its sums; and the most channels or hidden values of
// attention_small.
#define COLUMNS 32
#define SLICES (GROUP_X / COLUMNS)
#define MOST 1024

// What the first product reads, from the mean of channel k.
INLINE float first_input(GLOBAL const uchar* weights, struct AttentionParams p, int k, float mean) {
  if (p.hidden != 0) return mean;
  return activate(FMA(FLOATS_AT(p.scale1)[k], mean, FLOATS_AT(p.shift1)[k]), p.act);
}
INLINE float first_output(GLOBAL const uchar* weights, struct AttentionParams p, int i, float sum) {
  const float value = sum + FLOATS_AT(p.bias1)[i];
  return p.hidden != 0 ? activate(value, p.act) : value;
}
// What the second product reads, from result k of the first, or from the means behind them.
INLINE float second_input(GLOBAL const uchar* weights, struct AttentionParams p, int k, float value) {
  if (p.hidden != 0) return value;
  const float x = FMA(FLOATS_AT(p.scale2)[k], value, FLOATS_AT(p.shift2)[k]);
  return x < 0.0f ? 0.0f : x;
}
INLINE float second_output(GLOBAL const uchar* weights, struct AttentionParams p, int i, float sum) {
  const float value = activate(sum + FLOATS_AT(p.bias2)[i], p.gate);
  return p.hidden != 0 ? value : 1.0f + value;
}

// A thread's part of output i of a product: the sum over every SLICES-th of `terms` inputs.
INLINE float part_of_product(GLOBAL const ELEM* weight, LOCAL_POINTER const float* x, int terms, int outputs, int i,
                             int slice) {
  float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  if (i < outputs) {
    const size_t next = (size_t)SLICES * (size_t)outputs;
    weight += (size_t)slice * (size_t)outputs + (size_t)i;
    for (int k = slice; k < terms; k += 4 * SLICES) {
      UNROLL
      for (int u = 0; u < 4; ++u) {
        if (k + u * SLICES < terms) sums[u] = FMA(x[k + u * SLICES], load_elem(weight, (size_t)u * next), sums[u]);
      }
      weight += 4 * next;
    }
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

KERNEL attention_small(ARENA_PARAMETERS, struct AttentionParams p) {
  LOCAL float tile[GROUP_X];
  LOCAL float means[MOST], middle[MOST], x[2 * MOST];
  const int id = LOCAL_ID(0), column = id % COLUMNS, slice = id / COLUMNS;
  const size_t first_pixel = (size_t)GROUP_ID(0) * (size_t)p.pixels;

  for (int c0 = 0; c0 < p.channels; c0 += COLUMNS) {
    const int c = c0 + column;
    float sum = 0.0f;
    if (c < p.channels) {
      const struct Channel channel = channel_of(arena, weights, p.in, c);
      for (int i = slice; i < p.pixels; i += SLICES) {
        sum += load_elem(channel.first, (first_pixel + (size_t)i) * channel.stride);
      }
    }
    sum = sum_of_lanes(tile, column, COLUMNS, slice, SLICES, sum);
    if (slice == 0 && c < p.channels) means[c] = sum / (float)p.pixels;
  }
  BARRIER();

  for (int k = id; k < p.channels; k += GROUP_X) x[k] = first_input(weights, p, k, means[k]);
  BARRIER();
  const int outputs = p.hidden != 0 ? p.hidden : p.channels;
  for (int i0 = 0; i0 < outputs; i0 += COLUMNS) {
    const int i = i0 + column;
    float sum = part_of_product(WEIGHTS_AT(p.weight1), x, p.channels, outputs, i, slice);
    sum = sum_of_lanes(tile, column, COLUMNS, slice, SLICES, sum);
    if (slice == 0 && i < outputs) middle[i] = first_output(weights, p, i, sum);
  }
  BARRIER();

  const int inputs = p.hidden != 0 ? p.hidden : 2 * p.channels;
  for (int k = id; k < inputs; k += GROUP_X) {
    x[k] = second_input(weights, p, k, k < outputs ? middle[k] : means[k - outputs]);
  }
  BARRIER();
  for (int i0 = 0; i0 < p.channels; i0 += COLUMNS) {
    const int i = i0 + column;
    float sum = part_of_product(WEIGHTS_AT(p.weight2), x, inputs, p.channels, i, slice);
    sum = sum_of_lanes(tile, column, COLUMNS, slice, SLICES, sum);
    if (slice == 0 && i < p.channels) means[i] = second_output(weights, p, i, sum);
  }
  BARRIER();

  const int elements = p.pixels * p.channels;
  for (int i = id; i < elements; i += GROUP_X) {
    const int pixel = i / p.channels, c = i - pixel * p.channels;
    const float v = load_view(arena, weights, p.in, first_pixel + (size_t)pixel, c);
    store_view(arena, weights, p.out, first_pixel + (size_t)pixel, c, v * means[c]);
  }
}

// One of the two products: a group has COLUMNS of an image's outputs.
KERNEL attention_product(ARENA_PARAMETERS, struct AttentionParams p) {
  LOCAL float tile[GROUP_X];
  LOCAL float x[MOST];
  const int id = LOCAL_ID(0), column = id % COLUMNS, slice = id / COLUMNS;
  const int middle_size = p.hidden != 0 ? p.hidden : p.channels;
  const int outputs = p.second ? p.channels : middle_size;
  const int inputs = !p.second ? p.channels : p.hidden != 0 ? p.hidden : 2 * p.channels;
  const int blocks = (outputs + COLUMNS - 1) / COLUMNS;
  const int image = GROUP_ID(0) / blocks, i = GROUP_ID(0) % blocks * COLUMNS + column;
  GLOBAL const float* means = (GLOBAL const float*)(scratch + p.means) + (size_t)image * (size_t)p.channels;
  GLOBAL float* middle = (GLOBAL float*)(scratch + p.middle) + (size_t)image * (size_t)middle_size;
  GLOBAL float* gates = (GLOBAL float*)(scratch + p.gates) + (size_t)image * (size_t)p.channels;
  GLOBAL const ELEM* weight = WEIGHTS_AT(p.second ? p.weight2 : p.weight1);

  float sum = 0.0f;
  for (int k0 = 0; k0 < inputs; k0 += MOST) {
    const int terms = MIN(MOST, inputs - k0);
    BARRIER();
    for (int k = id; k < terms; k += GROUP_X) {
      const int at = k0 + k;
      x[k] = p.second ? second_input(weights, p, at, at < middle_size ? middle[at] : means[at - middle_size])
                      : first_input(weights, p, at, means[at]);
    }
    BARRIER();
    sum += part_of_product(weight + (size_t)k0 * (size_t)outputs, x, terms, outputs, i, slice);
  }
  sum = sum_of_lanes(tile, column, COLUMNS, slice, SLICES, sum);
  if (slice == 0 && i < outputs) {
    if (p.second) {
      gates[i] = second_output(weights, p, i, sum);
    } else {
      middle[i] = first_output(weights, p, i, sum);
    }
  }
}

KERNEL attention_scale(ARENA_PARAMETERS, struct AttentionParams p) {
  const uint item = (uint)GROUP_ID(0) * GROUP_X + (uint)LOCAL_ID(0), row = (uint)(p.channels / p.width);
  const uint pixel = item / row;
  if (pixel >= (uint)p.images * (uint)p.pixels) return;
  const int c = (int)(item - pixel * row) * p.width;
  GLOBAL const float* gates =
      (GLOBAL const float*)(scratch + p.gates) + (size_t)(pixel / (uint)p.pixels) * (size_t)p.channels;
  float v[4];
  load_view_some(arena, weights, p.in, pixel, c, p.width, v);
  UNROLL
  for (int k = 0; k < 4; ++k) {
    if (k < p.width) v[k] *= gates[c + k];
  }
  store_view_some(arena, weights, p.out, pixel, c, p.width, v);
}

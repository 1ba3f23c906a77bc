// Convolutions of bytes. A sum runs over words of four input channels: p.quads words at each tap of the window. What an
// input's zero point adds to a sum is part of its bias, so that padding is bytes of that zero point.
#include "integers_common.cl"

// Where a kernel is among the words of a sum.
struct Word {
  int quad, column, row;
};

INLINE struct Word word_at(int index, struct IntegerConvParams p) {
  struct Word w;
  const int tap = index / p.quads;
  w.quad = index - tap * p.quads;
  w.row = tap / p.kernel_w;
  w.column = tap - w.row * p.kernel_w;
  return w;
}

// The steps are below the sizes, so each part overflows at most once.
INLINE struct Word word_after(struct Word w, struct IntegerConvParams p) {
  w.quad += p.step_quad;
  w.column += p.step_column;
  w.row += p.step_row;
  if (w.quad >= p.quads) {
    w.quad -= p.quads;
    ++w.column;
  }
  if (w.column >= p.kernel_w) {
    w.column -= p.kernel_w;
    ++w.row;
  }
  return w;
}

// The window of an output pixel: its first row and column in the input, and the input pixel where its image begins.
struct Corner {
  int top, left, image;
};

// Of a pixel beyond the last one, all that is gathered is padding.
INLINE struct Corner corner_of(int pixel, struct IntegerConvParams p) {
  struct Corner c;
  const int row = pixel / p.out_w, column = pixel - row * p.out_w;
  const int image = row / p.out_h;
  c.top = pixel < p.pixels ? (row - image * p.out_h) * p.stride_h - p.pad_top : -(1 << 30);
  c.left = column * p.stride_w - p.pad_left;
  c.image = pixel < p.pixels ? image * p.in_h * p.in_w : 0;
  return c;
}

INLINE uint gathered(GLOBAL const uchar* arena, GLOBAL const uchar* weights, struct ByteQuad quad,
                     GLOBAL const int* scales, struct Corner corner, struct Word at, struct IntegerConvParams p) {
  const int y = corner.top + at.row * p.dilation_h, x = corner.left + at.column * p.dilation_w;
  if ((uint)y >= (uint)p.in_h || (uint)x >= (uint)p.in_w) return p.padding;
  const uint word = load_quad(arena, weights, quad, corner.image + y * p.in_w + x);
#ifdef SCALED
  return scaled_quad(word, scales);
#else
  return word;
#endif
}

// The output for a sum without its bias. `output` counts through all groups.
INLINE int finished(GLOBAL const uchar* weights, int sum, int output, struct IntegerConvParams p) {
  GLOBAL const int* factors = INTS_AT(p.factors) + 4 * (size_t)output;
  const int v = multiplied(wrapped_sum(sum, factors[0]), factors[1], factors[2], p.twice);
  return clamped(wrapped_sum(v, p.out_zero), p.low, p.high);
}

// Up to four outputs of a pixel, from `first` on, for their sums, which it uses up. Output and residual are single
// ranges of channels. The loop is not unrolled, because what it does for each output is long.
INLINE void store_outputs(GLOBAL uchar* arena, GLOBAL const uchar* weights, int pixel, int first, int count, int* sums,
                          struct IntegerConvParams p) {
  const int aligned = count == 4 && (first & 3) == 0;
  struct ByteQuad quad;
  uint added = 0, word = 0;
  quad.channel = first;
  if (p.has_sum) {
    quad.base = p.in2.offset + (uint)first;
    quad.stride = p.in2.stride;
    quad.count = aligned ? p.in2.full : count;
    added = load_quad(arena, weights, quad, pixel);
  }
  for (int i = 0; i < count; ++i) {
    int v = finished(weights, sums[0], first + i, p);
    if (p.has_sum) v = combined(v, byte_of(added, 0), p.sum);
    word |= (uint)(v & 255) << (8 * i);
    added >>= 8;
    sums[0] = sums[1];
    sums[1] = sums[2];
    sums[2] = sums[3];
  }
  quad.base = p.out.offset + (uint)first;
  quad.stride = p.out.stride;
  quad.count = aligned ? p.out.full : count;
  store_quad(arena, quad, pixel, word);
}

#if defined(TILE_PIXELS)

// A tile of pixels times outputs, TILE_WORDS words of the sums at a time through local memory. Each thread has
// PIXEL_BLOCKS blocks of four pixels times OUTPUT_BLOCKS blocks of four outputs. Weights: [group][word][output], words
// and outputs padded with zeros to whole tiles.
#define THREADS (GROUP_X * GROUP_Y)
#define FETCHED_INPUTS (TILE_PIXELS * TILE_WORDS / THREADS)
#define FETCHED_WEIGHTS ((TILE_OUTPUTS / 4 * TILE_WORDS + THREADS - 1) / THREADS)
#define ROW (TILE_PIXELS / 4 + 1)  // one more, so that stores of different words go to different banks

KERNEL integer_conv_tile(ARENA_PARAMETERS, struct IntegerConvParams p) {
  LOCAL uint4 inputs[TILE_WORDS * ROW];
  LOCAL uint4 factors[TILE_WORDS * TILE_OUTPUTS / 4];
  LOCAL struct Corner corners[TILE_PIXELS];
  const int thread = LOCAL_ID(1) * GROUP_X + LOCAL_ID(0);
  const int group = GROUP_ID(2), first_pixel = GROUP_ID(0) * TILE_PIXELS, first_output = GROUP_ID(1) * TILE_OUTPUTS;
  for (int i = thread; i < TILE_PIXELS; i += THREADS) corners[i] = corner_of(first_pixel + i, p);
  BARRIER();

  const int chunks = (p.words + TILE_WORDS - 1) / TILE_WORDS;
  const int width = (p.outputs + TILE_OUTPUTS - 1) / TILE_OUTPUTS * (TILE_OUTPUTS / 4);  // of a row of weights
  GLOBAL const uint4* rows = (GLOBAL const uint4*)WORDS_AT(p.weight) +
                             (size_t)group * (size_t)(chunks * TILE_WORDS) * (size_t)width + first_output / 4;

  const int word = thread % TILE_WORDS, pixel_of_thread = thread / TILE_WORDS;  // what this thread gathers
  struct Word at = word_at(word, p);
  int sums[4 * PIXEL_BLOCKS][4 * OUTPUT_BLOCKS];
  UNROLL for (int i = 0; i < 4 * PIXEL_BLOCKS; ++i) {
    UNROLL for (int j = 0; j < 4 * OUTPUT_BLOCKS; ++j) sums[i][j] = 0;
  }
  // Each round gathers a chunk while the one before it, in local memory, is multiplied.
  for (int chunk = 0; chunk <= chunks; ++chunk) {
    uint fetched_inputs[FETCHED_INPUTS];
    uint4 fetched_weights[FETCHED_WEIGHTS];
    if (chunk < chunks) {
      const int index = group * p.quads + at.quad;
      const struct ByteQuad quad = quad_of(weights, p.in, index);
      GLOBAL const int* scales = INTS_AT(p.scales) + 12 * (size_t)index;
      UNROLL for (int i = 0; i < FETCHED_INPUTS; ++i) {
        fetched_inputs[i] =
            gathered(arena, weights, quad, scales, corners[pixel_of_thread + i * (THREADS / TILE_WORDS)], at, p);
      }
      at = word_after(at, p);
      UNROLL for (int i = 0; i < FETCHED_WEIGHTS; ++i) {
        const int k = thread + i * THREADS;
        if (k < TILE_OUTPUTS / 4 * TILE_WORDS) {
          fetched_weights[i] =
              rows[(size_t)(chunk * TILE_WORDS + k / (TILE_OUTPUTS / 4)) * (size_t)width + k % (TILE_OUTPUTS / 4)];
        }
      }
    }
    if (chunk > 0) {
      for (int k = 0; k < TILE_WORDS; ++k) {
        uint a[4 * PIXEL_BLOCKS], b[4 * OUTPUT_BLOCKS];
        UNROLL for (int i = 0; i < PIXEL_BLOCKS; ++i) {
          const uint4 four = inputs[k * ROW + i * GROUP_Y + LOCAL_ID(1)];
          a[4 * i] = four.x;
          a[4 * i + 1] = four.y;
          a[4 * i + 2] = four.z;
          a[4 * i + 3] = four.w;
        }
        UNROLL for (int j = 0; j < OUTPUT_BLOCKS; ++j) {
          const uint4 four = factors[k * (TILE_OUTPUTS / 4) + j * GROUP_X + LOCAL_ID(0)];
          b[4 * j] = four.x;
          b[4 * j + 1] = four.y;
          b[4 * j + 2] = four.z;
          b[4 * j + 3] = four.w;
        }
        UNROLL for (int i = 0; i < 4 * PIXEL_BLOCKS; ++i) {
          UNROLL for (int j = 0; j < 4 * OUTPUT_BLOCKS; ++j) sums[i][j] = dot4(a[i], b[j], sums[i][j]);
        }
      }
    }
    BARRIER();
    if (chunk < chunks) {
      UNROLL for (int i = 0; i < FETCHED_INPUTS; ++i) {
        ((LOCAL_POINTER uint*)inputs)[word * 4 * ROW + pixel_of_thread + i * (THREADS / TILE_WORDS)] =
            fetched_inputs[i];
      }
      UNROLL for (int i = 0; i < FETCHED_WEIGHTS; ++i) {
        if (thread + i * THREADS < TILE_OUTPUTS / 4 * TILE_WORDS) factors[thread + i * THREADS] = fetched_weights[i];
      }
    }
    BARRIER();
  }

  // One pixel after the other: the sums of the first one are stored, and the others move up.
  for (int i = 0; i < 4 * PIXEL_BLOCKS; ++i) {
    const int pixel = first_pixel + 4 * (i / 4 * GROUP_Y + LOCAL_ID(1)) + i % 4;
    UNROLL for (int j = 0; j < OUTPUT_BLOCKS; ++j) {
      const int output = first_output + 4 * (j * GROUP_X + LOCAL_ID(0));
      const int left = p.outputs - output;
      int four[4];
      UNROLL for (int n = 0; n < 4; ++n) four[n] = sums[0][4 * j + n];
      if (left > 0 && pixel < p.pixels) {
        store_outputs(arena, weights, pixel, group * p.outputs + output, left < 4 ? left : 4, four, p);
      }
    }
    UNROLL for (int k = 0; k + 1 < 4 * PIXEL_BLOCKS; ++k) {
      UNROLL for (int j = 0; j < 4 * OUTPUT_BLOCKS; ++j) sums[k][j] = sums[k + 1][j];
    }
  }
}

#elif defined(ROW_PIXELS)

// Few pixels, as of a fully connected layer: GROUP_X threads share the sums of an output for ROW_PIXELS pixels.
// Weights: [output][word].
KERNEL integer_conv_row(ARENA_PARAMETERS, struct IntegerConvParams p) {
  LOCAL int partial[ROW_PIXELS][GROUP_Y][GROUP_X];
  const int lane = LOCAL_ID(0), first_pixel = GROUP_ID(1) * ROW_PIXELS;
  const int output = GROUP_ID(0) * GROUP_Y + LOCAL_ID(1);
  const int row = output < p.outputs ? output : p.outputs - 1;  // threads of no output meet the barriers, too
  GLOBAL const uint* factors = WORDS_AT(p.weight) + (size_t)row * (size_t)p.words;
  struct Corner corners[ROW_PIXELS];
  int sums[ROW_PIXELS];
  UNROLL for (int i = 0; i < ROW_PIXELS; ++i) {
    corners[i] = corner_of(first_pixel + i, p);
    sums[i] = 0;
  }
  struct Word at = word_at(lane, p);
  for (int k = lane; k < p.words; k += GROUP_X) {
    const struct ByteQuad quad = quad_of(weights, p.in, at.quad);
    GLOBAL const int* scales = INTS_AT(p.scales) + 12 * (size_t)at.quad;
    const uint factor = factors[k];
    UNROLL for (int i = 0; i < ROW_PIXELS; ++i) {
      sums[i] = dot4(gathered(arena, weights, quad, scales, corners[i], at, p), factor, sums[i]);
    }
    at = word_after(at, p);
  }
  UNROLL for (int i = 0; i < ROW_PIXELS; ++i) partial[i][LOCAL_ID(1)][lane] = sums[i];
  for (int half_x = GROUP_X / 2; half_x > 0; half_x /= 2) {
    BARRIER();
    if (lane < half_x) {
      UNROLL for (int i = 0; i < ROW_PIXELS; ++i) {
        partial[i][LOCAL_ID(1)][lane] =
            wrapped_sum(partial[i][LOCAL_ID(1)][lane], partial[i][LOCAL_ID(1)][lane + half_x]);
      }
    }
  }
  BARRIER();
  for (int i = lane; i < ROW_PIXELS; i += GROUP_X) {
    int sum[4] = {partial[i][LOCAL_ID(1)][0], 0, 0, 0};
    if (output < p.outputs && first_pixel + i < p.pixels) {
      store_outputs(arena, weights, first_pixel + i, output, 1, sum, p);
    }
  }
}

#else

// Groups with few outputs: a thread for each output. Weights: [word][output].
KERNEL integer_conv_direct(ARENA_PARAMETERS, struct IntegerConvParams p) {
  const int item = GROUP_ID(0) * GROUP_X + LOCAL_ID(0);
  const int pixel = item / p.all_outputs, output = item - pixel * p.all_outputs;
  if (pixel >= p.pixels) return;
  const struct Corner corner = corner_of(pixel, p);
  const int first_quad = output / p.outputs * p.quads;
  GLOBAL const uint* factors = WORDS_AT(p.weight) + output;
  int sum[4] = {0, 0, 0, 0};
  struct Word at;
  for (at.row = 0; at.row < p.kernel_h; ++at.row) {
    for (at.column = 0; at.column < p.kernel_w; ++at.column) {
      for (at.quad = 0; at.quad < p.quads; ++at.quad) {
        const int index = first_quad + at.quad;
        const uint word = gathered(arena, weights, quad_of(weights, p.in, index),
                                   INTS_AT(p.scales) + 12 * (size_t)index, corner, at, p);
        sum[0] = dot4(word, *factors, sum[0]);
        factors += p.all_outputs;
      }
    }
  }
  store_outputs(arena, weights, pixel, output, 1, sum, p);
}

// One input channel for each output: a thread for each quad of channels. Weights: [tap][quad].
KERNEL integer_conv_depthwise(ARENA_PARAMETERS, struct IntegerConvParams p) {
  const int item = GROUP_ID(0) * GROUP_X + LOCAL_ID(0);
  const int pixel = item / p.quads;
  if (pixel >= p.pixels) return;
  const struct Corner corner = corner_of(pixel, p);
  struct Word at;
  at.quad = item - pixel * p.quads;
  const struct ByteQuad quad = quad_of(weights, p.in, at.quad);
  GLOBAL const int* scales = INTS_AT(p.scales) + 12 * (size_t)at.quad;
  GLOBAL const uint* factors = WORDS_AT(p.weight) + at.quad;
  int sums[4] = {0, 0, 0, 0};
  for (at.row = 0; at.row < p.kernel_h; ++at.row) {
    for (at.column = 0; at.column < p.kernel_w; ++at.column) {
      const uint word = gathered(arena, weights, quad, scales, corner, at, p), factor = *factors;
      UNROLL for (int i = 0; i < 4; ++i) sums[i] = wrapped_sum(sums[i], byte_of(word, i) * byte_of(factor, i));
      factors += p.quads;
    }
  }
  store_outputs(arena, weights, pixel, quad.channel, quad.count < 4 ? quad.count : 4, sums, p);
}

#endif

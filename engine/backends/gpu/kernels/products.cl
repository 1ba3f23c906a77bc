// Matrix products, if ROWS and COLUMNS are defined; else normalisation of pixels over their channels.
#include "elements.cl"
#include "lanes.cl"
#include "spaces.cl"
#include "products_params.h"

#ifdef ROWS

// A group of 16 x 16 threads computes a tile of 16 * ROWS x 16 * COLUMNS results, and goes through the terms in steps
// of TERMS, whose numbers it keeps in local memory.
#define TERMS 16
#define TILE_ROWS (16 * ROWS)
#define TILE_COLUMNS (16 * COLUMNS)

KERNEL mat_mul(ARENA_PARAMETERS, struct MatMulParams p) {
  LOCAL float a_tile[TERMS][TILE_ROWS + 1], b_tile[TERMS][TILE_COLUMNS + 1];
  uint rest = (uint)GROUP_ID(0);
  const int column0 = (int)(rest % (uint)p.tiles_across) * TILE_COLUMNS;
  rest /= (uint)p.tiles_across;
  const int row0 = (int)(rest % (uint)p.tiles_down) * TILE_ROWS;
  rest /= (uint)p.tiles_down;
  const struct Place place = place_in_space(p.batch, rest);
  GLOBAL const ELEM* a = operand_start(arena, weights, p.a) + place.in;
  GLOBAL const ELEM* b = operand_start(arena, weights, p.b) + place.in2;
  GLOBAL ELEM* out = ARENA_AT(p.out) + place.out;
  const int x = LOCAL_ID(0), y = LOCAL_ID(1), id = y * 16 + x;

  float sums[ROWS][COLUMNS];
  UNROLL
  for (int i = 0; i < ROWS; ++i) {
    UNROLL
    for (int j = 0; j < COLUMNS; ++j) sums[i][j] = 0.0f;
  }

  for (int k0 = 0; k0 < p.terms; k0 += TERMS) {
    // Neighbouring threads read what is nearer in memory: terms, or rows and columns.
    for (int i = id; i < TERMS * TILE_ROWS; i += 256) {
      const int k = p.a_term <= p.a_row ? i % TERMS : i / TILE_ROWS;
      const int row = p.a_term <= p.a_row ? i / TERMS : i % TILE_ROWS;
      float v = 0.0f;
      if (k0 + k < p.terms && row0 + row < p.rows) {
        v = load_elem(a, (size_t)(row0 + row) * p.a_row + (size_t)(k0 + k) * p.a_term);
      }
      a_tile[k][row] = v;
    }
    for (int i = id; i < TERMS * TILE_COLUMNS; i += 256) {
      const int k = p.b_term < p.b_column ? i % TERMS : i / TILE_COLUMNS;
      const int column = p.b_term < p.b_column ? i / TERMS : i % TILE_COLUMNS;
      float v = 0.0f;
      if (k0 + k < p.terms && column0 + column < p.columns) {
        v = load_elem(b, (size_t)(k0 + k) * p.b_term + (size_t)(column0 + column) * p.b_column);
      }
      b_tile[k][column] = v;
    }
    BARRIER();
    // The sums of a step are added as a whole, which keeps the rounding of long sums small.
    float step[ROWS][COLUMNS];
    UNROLL
    for (int i = 0; i < ROWS; ++i) {
      UNROLL
      for (int j = 0; j < COLUMNS; ++j) step[i][j] = 0.0f;
    }
    for (int k = 0; k < TERMS; ++k) {
      float left[ROWS];
      UNROLL
      for (int i = 0; i < ROWS; ++i) left[i] = a_tile[k][y + 16 * i];
      UNROLL
      for (int j = 0; j < COLUMNS; ++j) {
        const float right = b_tile[k][x + 16 * j];
        UNROLL
        for (int i = 0; i < ROWS; ++i) step[i][j] = FMA(left[i], right, step[i][j]);
      }
    }
    UNROLL
    for (int i = 0; i < ROWS; ++i) {
      UNROLL
      for (int j = 0; j < COLUMNS; ++j) sums[i][j] += step[i][j];
    }
    BARRIER();
  }

  UNROLL
  for (int i = 0; i < ROWS; ++i) {
    UNROLL
    for (int j = 0; j < COLUMNS; ++j) {
      const int row = row0 + y + 16 * i, column = column0 + x + 16 * j;
      if (row < p.rows && column < p.columns) {
        store_elem(out, (size_t)row * p.out_row + (size_t)column * p.out_column, activate(sums[i][j], p.act));
      }
    }
  }
}

#else

// `lanes` neighbouring threads have a pixel. The mean comes first, so that no large numbers cancel in the variance.
KERNEL layer_norm(ARENA_PARAMETERS, struct LayerNormParams p) {
  LOCAL float tile[GROUP_X];
  const int id = LOCAL_ID(0), lane = id % p.lanes, first = id - lane;
  const uint pixel = (uint)GROUP_ID(0) * (uint)(GROUP_X / p.lanes) + (uint)(id / p.lanes);
  const int channels = pixel < p.pixels ? p.channels : 0, begin = lane * p.width, next = p.lanes * p.width;
  float v[4];

  float sum = 0.0f;
  for (int c = begin; c < channels; c += next) {
    load_view_some(arena, weights, p.in, pixel, c, p.width, v);
    sum += (v[0] + v[1]) + (v[2] + v[3]);
  }
  const float mean = sum_of_lanes(tile, first, 1, lane, p.lanes, sum) / (float)p.channels;

  float squares = 0.0f;
  for (int c = begin; c < channels; c += next) {
    load_view_some(arena, weights, p.in, pixel, c, p.width, v);
    UNROLL
    for (int k = 0; k < 4; ++k) {
      if (k < p.width) squares = FMA(v[k] - mean, v[k] - mean, squares);
    }
  }
  squares = sum_of_lanes(tile, first, 1, lane, p.lanes, squares);
  const float factor = 1.0f / SQRT(squares / (float)p.channels + p.epsilon);

  for (int c = begin; c < channels; c += next) {
    load_view_some(arena, weights, p.in, pixel, c, p.width, v);
    UNROLL
    for (int k = 0; k < 4; ++k) {
      if (k < p.width) {
        v[k] = (v[k] - mean) * factor;
        if (p.affine.on) v[k] = FMA(v[k], FLOATS_AT(p.affine.scale)[c + k], FLOATS_AT(p.affine.shift)[c + k]);
        v[k] = activate(v[k], p.act);
      }
    }
    store_view_some(arena, weights, p.out, pixel, c, p.width, v);
  }
}

#endif

// The structures of the kernels of matrix products and layer norm: see params.h.
#ifndef SPARSENET_GPU_PRODUCTS_PARAMS_H
#define SPARSENET_GPU_PRODUCTS_PARAMS_H

#include "params.h"

// out[row][column] = act(sum over terms of a[row][term] * b[term][column]), for each element of `batch`. Distances are
// in elements.
struct MatMulParams {
  int size;
  struct Operand a, b;
  unsigned out;
  struct Space batch;
  int rows, columns, terms;
  unsigned a_row, a_term, b_term, b_column, out_row, out_column;
  int tiles_down, tiles_across;
  struct Activation act;
};

struct LayerNormParams {
  int size;
  struct ViewArg in, out;
  unsigned pixels;
  int channels;
  int width;  // channels that a thread takes at a time: 1 or 4
  int lanes;  // threads of a pixel, a power of two
  float epsilon;
  struct AffineArg affine;  // without bounds
  struct Activation act;
};

#endif

// The structures of the kernels over index spaces: see params.h.
#ifndef SPARSENET_GPU_STRIDED_PARAMS_H
#define SPARSENET_GPU_STRIDED_PARAMS_H

#include "params.h"

// strided_pointwise. With width 4, the fastest dimension counts fours, and its distances are 0 or 4 elements.
struct StridedParams {
  int size;
  struct Operand in, in2;
  unsigned out;  // element
  struct Space space;
  unsigned items;
  int width;  // elements of a thread: 1 or 4
  int op;     // an snp_binary_op; -1: there is no in2
  struct Activation act;
};

struct FillParams {
  int size;
  unsigned out, items;  // elements
  float value;
};

// transpose. Neighbours of the input are neighbours along `across`, those of the output along `along`.
struct TransposeParams {
  int size;
  struct Operand in;
  unsigned out;
  struct Space rest;  // the other dimensions
  unsigned across, along;
  unsigned in_along, out_across;  // elements from one index to the next
  unsigned tiles_across, tiles_along;
};

// softmax, reduce_mean. Rows are elements of `outer`; a row's elements are those of `inner`.
struct RowsParams {
  int size;
  struct Operand in;
  unsigned out;
  struct Space outer, inner;
  unsigned rows, terms;
  int lanes;       // threads of a row, a power of two
  int lanes_near;  // neighbouring threads have one row, else neighbouring rows
  struct Activation act;
};

#endif

// The structures of the elementwise kernels: see params.h.
#ifndef SPARSENET_GPU_POINTWISE_PARAMS_H
#define SPARSENET_GPU_POINTWISE_PARAMS_H

#include "params.h"

struct PointwiseParams {
  int size;
  struct ViewArg in, in2, out;
  unsigned items, row;  // threads with work: for all pixels, and for one
  int width;            // elements of a thread: 1 or 4
  int op;               // an snp_binary_op; -1: there is no in2
  struct AffineArg affine;
  struct Activation act;
};

#endif

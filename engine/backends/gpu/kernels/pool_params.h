// The structures of the pooling kernels: see params.h.
#ifndef SPARSENET_GPU_POOL_PARAMS_H
#define SPARSENET_GPU_POOL_PARAMS_H

#include "params.h"

struct PoolParams {
  int size;
  struct ViewArg in, out;
  unsigned items, row;  // threads with work: for all output pixels, and for one
  int width;            // channels of a thread: 1 or 4
  int in_h, in_w, out_h, out_w;
  int kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right;
  int max, count_include_pad;
  float start;  // of the maximum: -infinity; of the sum: 0
  struct AffineArg affine;
  struct Activation act;
};

// global_pool: means over the pixels of an image.
struct GlobalPoolParams {
  int size;
  struct ViewArg in, out;
  int to_scratch;  // the output is no view but float32 numbers [image][channel] in scratch, from byte `means` on
  unsigned means;
  int channels, pixels;  // of an image
  int count;             // that sums are divided by
  int block, blocks;     // channels of a group, a power of two; groups of an image
  struct AffineArg affine;
  struct Activation act;
};

#endif

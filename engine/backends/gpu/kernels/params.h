// The structures that kernels take by value, for the host's compiler and for those of the devices. All members have
// four bytes, and each structure begins with its size. (No `#pragma once`: this text becomes a part of kernels.)
#ifndef SPARSENET_GPU_PARAMS_H
#define SPARSENET_GPU_PARAMS_H

// An activation: see snp_act in sparsenet/plugin.h.
struct Activation {
  int kind;
  float low, high, alpha, beta;
};

// Where a view lies. `table` < 0: one range of channels, from element `offset` of the arena on, `stride` elements from
// pixel to pixel. Otherwise `table` * 16 is the byte in `weights` where its table of channels begins (common.cl).
struct ViewArg {
  unsigned offset;
  int stride;
  int table;
};

// An affine in front of a step, or none. Its factors and addends are float32 numbers in `weights`, at these bytes.
struct AffineArg {
  int on;
  unsigned scale, shift;
  float low, high;
};

// An operand of an index space: the element where it begins, in the arena or in `weights`.
struct Operand {
  unsigned at;
  int in_weights;
};

// Dimensions of an index space, the fastest one first, with the distances in elements from one index to the next.
struct Space {
  int rank;
  unsigned dims[8];
  unsigned out[8], in[8], in2[8];
};

#endif

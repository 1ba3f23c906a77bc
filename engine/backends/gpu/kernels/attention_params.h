// The structures of the kernels of channel attention: see params.h.
#ifndef SPARSENET_GPU_ATTENTION_PARAMS_H
#define SPARSENET_GPU_ATTENTION_PARAMS_H

#include "params.h"

// out = in * f(mean of in): two products of a matrix and a vector, with functions in front of and behind each. Places
// are bytes in `weights`: vectors are float32, matrices are elements, transposed: [inputs][outputs].
struct AttentionParams {
  int size;
  struct ViewArg in, out;
  int images, pixels, channels;
  int hidden;  // 0: the first form of snp_attention
  // The first form only: factors and addends of what each product reads.
  unsigned scale1, shift1, scale2, shift2;
  unsigned weight1, bias1, weight2, bias2;
  unsigned means, middle, gates;  // bytes in scratch, float32 numbers of all images; not of attention_small
  int second;                     // attention_product: which of the two
  int width;                      // attention_scale: channels of a thread
  struct Activation act, gate;
};

#endif

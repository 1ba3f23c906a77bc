// The structures of the kernels that compute with integers; see params.h.
#ifndef SPARSENET_GPU_INTEGERS_PARAMS_H
#define SPARSENET_GPU_INTEGERS_PARAMS_H

#include "params.h"

// Up to four channels of a view of bytes, which lie next to each other at every pixel.
struct ByteQuad {
  unsigned base;  // the byte where the first channel of pixel 0 is: in the arena, or in the weights if `stride` < 0
  int stride;     // bytes from pixel to pixel; ~stride if it is negative
  int channel;    // the first one
  int count;      // 1 to 4 bytes, or BYTE_QUAD_WORD: four that make up an aligned word
};
#define BYTE_QUAD_WORD 8

// A view of bytes as a list of quads. `table` < 0: a single range of channels, whose quads follow from the other
// members; `full` is the count of those with four channels. Otherwise `table` * 16 is the byte in `weights` where they
// are.
struct QuadView {
  unsigned offset;
  int stride, table, channels, full;
};

// a + b, a - b or a * b of two integers from which their zero points are taken; see snp_quant.
struct IntegerSum {
  int op;  // an snp_binary_op
  int twice, left_shift, in_zero, in2_zero, out_zero, low, high;
  int value, shift, value2, shift2, value_out, shift_out;  // multipliers of in, in2 and out; of a product the first
};

// A convolution. Its sums run over words: at each tap, row by row, the quads of a group's input channels.
struct IntegerConvParams {
  int size;
  int in_h, in_w, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int pixels;                            // of the output
  int outputs;                           // of a group
  int all_outputs;                       // of all groups
  int quads;                             // of a group
  int words;                             // of a sum
  int step_quad, step_column, step_row;  // how far a kernel that strides over the words moves at a time
  struct QuadView in;                    // the quads of a group follow those of the one before
  struct QuadView out, in2;
  unsigned scales;   // in weights: int[quad][4][3], the multiplier, addend and shift of channels
  unsigned weight;   // in weights, in an order of the kernel's own
  unsigned factors;  // in weights: int[output][4], bias, multiplier, shift, unused
  unsigned padding;  // four times the zero point of the input
  int twice, out_zero, low, high;
  int has_sum;  // whether `in2` is added
  struct IntegerSum sum;
};

// A step from element to element.
struct IntegerMapParams {
  int size;
  int pixels, quads;
  struct QuadView in, in2, out;
  struct ViewArg real;  // of float32
  int has_scales;
  unsigned scales;  // as in IntegerConvParams
  unsigned table;   // in weights: 256 results, from that of -128 on
  int is_unsigned;  // the input is of uint8
  int twice, in_zero, out_zero, low, high, value, shift;
  // Quantize: float32 inputs are multiplied by the first, a power of two, and divided by the second. Dequantize:
  // outputs are multiplied by the first.
  float factor, divisor;
  struct IntegerSum sum;
};

// A pool over windows.
struct IntegerPoolParams {
  int size;
  int in_h, in_w, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right;
  int pixels, quads;  // of the output
  struct QuadView in, out;
  int has_scales;
  unsigned scales;
  int is_max, count_padding, twice, in_zero, low, high;
};

// The mean over the pixels of each image.
struct IntegerMeanParams {
  int size;
  int images, pixels, quads;
  struct QuadView in, out;
  int has_scales;
  unsigned scales;
  int twice, in_zero, out_zero, low, high, value, shift;
};

// An operand of an index space: where its first element is.
struct WalkOperand {
  unsigned start;
  int in_weights;
  int strides[8];
};

// A step over an index space. The last dimensions, from `outer` on, are those of a softmax.
struct IntegerWalkParams {
  int size;
  int rank, outer;
  int dims[8];
  int count, along;  // elements of the index space before `outer`, and from there on
  struct WalkOperand in, in2, out;
  int fill;        // what integer_fill sets `count` bytes to
  unsigned table;  // in weights: the exponentials of 0, -1, ... -255, or -1 where they count as none
  struct IntegerSum sum;
};

#endif

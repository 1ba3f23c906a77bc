// The structures of the convolutions' kernels: see params.h.
#ifndef SPARSENET_GPU_CONV_PARAMS_H
#define SPARSENET_GPU_CONV_PARAMS_H

#include "params.h"

// The input and the affine in front of it; scale and shift are bytes in `weights`, where float32 numbers are.
struct ConvStart {
  struct ViewArg in;
  int vectors;  // channels 4i to 4i + 3 are neighbours in memory, at multiples of four elements
  int has_affine;
  unsigned scale, shift;
  float low, high;
};

// What happens to a sum of products.
struct ConvEnd {
  struct ViewArg out, in2;
  int vectors;  // as above, of both views, and the activation is SNP_CLAMP
  int has_bias, has_in2;
  unsigned bias;  // bytes in `weights`, where float32 numbers are
  struct Activation act;
};

struct ConvShape {
  int in_h, in_w, out_h, out_w;
  int kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
};

// conv_tiled.cl. A product of a matrix [rows][depth] with the weights [depth][columns], for each group of channels.
struct ConvTiled {
  int size;
  struct ConvStart start;
  struct ConvEnd end;
  struct ConvShape shape;
  int rows;                      // output pixels
  int depth;                     // taps times input channels of a group
  int columns;                   // output channels of a group
  int group_in;                  // input channels of a group
  int padded_depth, row_floats;  // of the weights: rows and elements of a row, multiples of the tile's size
  int splits, split_depth;       // depth is split into `splits` parts
  unsigned weights;              // bytes
  unsigned places;               // bytes in `weights`, if channels are gathered one by one: see conv_tiled.cl
  unsigned source;               // bytes in scratch, of a batched product: its matrix [rows][depth]
  unsigned partial;              // bytes in scratch, if splits > 1 or batched: [group][split][rows][row_floats]
  unsigned counters;             // if splits > 1: see is_last_part() in conv_common.cl
};

// conv_serial.cl.
struct ConvSerial {
  int size;
  struct ConvStart start;
  struct ConvEnd end;
  struct ConvShape shape;
  int rows, depth, columns, group_in;  // as above
  int panels, thread_panels;           // of the weights [group][panel][depth][16]; of a thread, at most 4
  unsigned weights;                    // bytes
};

// conv_direct.cl, conv_few.cl.
struct ConvDirect {
  int size;
  struct ConvStart start;
  struct ConvEnd end;
  struct ConvShape shape;
  int images, channels;     // of the output
  int group_in, group_out;  // channels of a group
  int row_floats;           // of the weights [taps times group_in][channels]
  unsigned weights;         // bytes
};

// conv_winograd_input.cl and conv_winograd_output.cl: scratch holds [36][tiles][row_floats] float32 numbers.
struct ConvWinograd {
  int size;
  struct ConvStart start;
  struct ConvEnd end;
  struct ConvShape shape;
  int images, channels;  // of the input, or of the output
  int tiles_h, tiles_w;  // of 4 x 4 output pixels
  int row_floats;
  unsigned scratch;  // bytes
};

#endif

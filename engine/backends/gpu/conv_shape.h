// What the files lower_conv*.cpp share: a convolution's sizes, and the parts of its kernels' parameters that are the
// same for all of them.
#pragma once

#include "backends/gpu/builder.h"
#include "backends/gpu/kernels/conv_params.h"

namespace sparsenet::gpu {

struct ConvSizes {
  const snp_step* step;
  int rows;  // output pixels
  int groups;
  int group_in, group_out;  // channels
  int taps, depth;          // depth: taps * group_in
  bool depthwise;           // one input channel for each of several output channels
  bool pointwise;           // a window of 1 x 1 with stride 1, no padding
  bool vectors_in;          // see ConvStart and ConvEnd
  bool vectors_out;
  uint64_t in_elements, out_elements;
  uint64_t end_bytes_read;  // of finish_conv(), in all
};

ConvSizes conv_sizes(const snp_step& step, const Builder& builder);

ConvShape conv_shape(const snp_step& step);
ConvStart conv_start(const ConvSizes& sizes, Builder& builder);
ConvEnd conv_end(const ConvSizes& sizes, Builder& builder);

// The weights as matrices [groups][panels][padded_depth][panel_floats] of elements: a panel has panel_floats columns.
// Depth is ordered by tap, then by input channel of the group, and all that is beyond depth and columns is zero.
uint32_t pack_conv_weights(const ConvSizes& sizes, int padded_depth, int panels, int panel_floats, Builder& builder);
// The same for kernels that take all channels of the output as columns: [depth][out c], and zeros up to row_floats.
uint32_t pack_conv_columns(const ConvSizes& sizes, int row_floats, Builder& builder);
// The same with transformed weights: [36][group_in, padded][row_floats] of float32 numbers.
uint32_t pack_winograd_weights(const ConvSizes& sizes, int padded_depth, int row_floats, Builder& builder);

// What a product's tile is of: conv_tiled.cl, whose depth may be split; conv_mma.cl, likewise; or one of 36 products.
enum class TileUse { kConvolution, kTensorCores, kBatched };

// A tile, and how the depth is split.
struct TileChoice {
  int tile = 0, splits = 1;
  double cost = 0;  // in multiply-adds of one compute unit
};
// The best first, at most `most` of them. `matrices`: independent products of this size.
std::vector<TileChoice> rank_tiles(const Builder& builder, int rows, int depth, int columns, int matrices, TileUse use,
                                   size_t most);

bool suits_tensor_cores(const ConvSizes& sizes, const Builder& builder);
bool suits_winograd(const ConvSizes& sizes, const Builder& builder);
double winograd_cost(const ConvSizes& sizes, const Builder& builder);

void lower_conv_tiled(const ConvSizes& sizes, const TileChoice& choice, Builder& builder);
void lower_conv_serial(const ConvSizes& sizes, Builder& builder);  // on CPUs, all but depthwise ones
void lower_conv_winograd(const ConvSizes& sizes, Builder& builder);
void lower_conv_direct(const ConvSizes& sizes, Builder& builder);  // depthwise, and groups of few channels
void lower_conv_few(const ConvSizes& sizes, Builder& builder);

// The product of 36 matrices of float32 numbers in scratch, for Winograd's convolution.
struct BatchedProduct {
  int rows, depth, columns;
  uint32_t source, result, weights;  // bytes; of the first two in scratch
  int padded_depth, row_floats;
  int tile;
};
void lower_batched_product(const BatchedProduct& product, Builder& builder);
int tile_columns(int tile);
constexpr int kTileDepth = 16;  // TILE_K of conv_tiled.cl, for batched products

inline int divided_up(int64_t a, int64_t b) {
  return static_cast<int>((a + b - 1) / b);
}

}  // namespace sparsenet::gpu

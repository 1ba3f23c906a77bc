// The inner loops of integer_conv.cpp: what the windows of P neighbouring output pixels read, gathered as a patch, and
// its products with the weights of an output. Numbers are in the order of these weights, [channel][row][column], which
// are used where they lie. There is one form for processors with products of pairs of 16-bit numbers in registers
// (integer_tile_pairs.h), whose layout all others but vector units use too, and one for Helium (integer_tile_mve.h).
//
// Both define
//   PatchNumber, kGroup        a number of a patch; patches are multiplied in groups of so many numbers
//   patch_numbers<P>(count)    the size of a patch
//   pixel_offset<P>(count, p)  where what pixel p reads begins in a patch
//   clear_rest<P>(patch, count)    to be called before the first use of a patch's memory
//   gather_window<P>(...)      gathers what one pixel reads
//   kTilePixels                P of the tiles that layers of several output pixels are cut into
//   multiply<P>(...)           adds the products of whole groups of an output's weights with a patch to sums[P]
//   multiply_rest<P>(...)      the same for the numbers that are no whole group
//   run_straight(...)          the sums of a tile's outputs, and what they become; kStoresFewer: also where a tile has
//                              fewer pixels
//   kAdjustsBiases, adjusted_biases    whether the zero point is taken off the biases instead of a patch's numbers
//   add_entries                adds a residual
//   copy_numbers, fill_numbers    as memcpy, memset
#pragma once

#include "kernels/compact/integer.h"

namespace sparsenet::rt::compact {

// Where a window lies: the pixel of its first row and column, for each row, and from there to the next column.
struct WindowRows {
  const int8_t* const* rows;
  ptrdiff_t offset, column;
};

// The outputs of a tile: out[pixel * stride + output]. All factors are such that fast_product() serves for them, and
// outputs have no bounds.
struct Tile {
  const int8_t* weight;
  const int32_t* biases;
  const Multiplier* multipliers;
  int32_t outputs, count, zero;
  int32_t pixels;
  int8_t* out;
  ptrdiff_t stride;
};

}  // namespace sparsenet::rt::compact

#if defined(__ARM_FEATURE_MVE)
#include "kernels/compact/integer_tile_mve.h"
#else
#include "kernels/compact/integer_tile_pairs.h"
#endif

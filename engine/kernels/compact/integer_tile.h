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
//   multiply_4, multiply_1     add the products of whole groups of an output's weights with a patch of P pixels to
//   their
//                              sums, and leave `weight` behind them
//   multiply_rest<P>(...)      the same for the numbers that are no whole group
#pragma once

#include "kernels/compact/integer.h"

namespace sparsenet::rt::compact {

// Where a window lies: the pixel of its first row and column, for each row, and from there to the next column.
struct WindowRows {
  const int8_t* const* rows;
  ptrdiff_t offset, column;
};

}  // namespace sparsenet::rt::compact

#if defined(__ARM_FEATURE_MVE)
#include "kernels/compact/integer_tile_mve.h"
#else
#include "kernels/compact/integer_tile_pairs.h"
#endif

// Lanes of vectors moved to places that are known when this is compiled.
#pragma once

#include "kernels/portable/simd.h"

namespace sparsenet::rt::SPARSENET_ISA {

// Lane i of the result is lane index[i] of a, and from kLanes on lane index[i] - kLanes of b. For constant indices.
SPARSENET_INLINE V shuffle(V a, V b, VInt index) {
#if defined(__GNUC__) && !defined(__clang__)
  return __builtin_shuffle(a, b, index);
#else
  V out{};
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) out[i] = index[i] < kLanes ? a[index[i]] : b[index[i] - kLanes];
  return out;
#endif
}

// Exchanges every lane i with lane i ^ kMask.
template <int kMask>
SPARSENET_INLINE V exchange(V v) {
  VInt index;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) index[i] = i ^ kMask;
  return shuffle(v, v, index);
}

// Exchanges, in every two rows i and i + kBit, the lanes with that bit of the first with those without it of the
// second.
template <int kBit>
SPARSENET_INLINE void exchange_rows(V (&rows)[kLanes]) {
  if constexpr (kBit < kLanes) {
    VInt low, high;
#pragma GCC unroll 16
    for (int l = 0; l < kLanes; ++l) {
      low[l] = (l & kBit) != 0 ? kLanes + l - kBit : l;
      high[l] = (l & kBit) != 0 ? kLanes + l : l + kBit;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if ((i & kBit) != 0) continue;
      const V a = rows[i], b = rows[i + kBit];
      rows[i] = shuffle(a, b, low);
      rows[i + kBit] = shuffle(a, b, high);
    }
  }
}

// Row i, lane l becomes row l, lane i: bit by bit of the two indices.
SPARSENET_INLINE void transpose(V (&rows)[kLanes]) {
  exchange_rows<1>(rows);
  exchange_rows<2>(rows);
  exchange_rows<4>(rows);
  exchange_rows<8>(rows);
}

}  // namespace sparsenet::rt::SPARSENET_ISA

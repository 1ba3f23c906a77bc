// Vectors of 32-bit integers, and the products that kernels of int8 are built on.
//
// A dot product adds to every lane kStep products of two neighbouring channels' cells and weights. How an activation
// becomes a cell depends on what the instruction set multiplies:
//   - AVX-512 VNNI, AVX-VNNI: unsigned bytes with signed ones, four at a time. A cell is x + 128, and what that adds to
//     a sum is taken off its bias. AMX has the same, although it multiplies signed bytes too: behind ReLUs most cells
//     are then 0, with which SparseNets were measured to be 12 % faster, as if clocks were higher.
//   - Arm: signed bytes, four at a time with SDOT, else in pairs. A cell is x, and the zero point is taken off the
//   bias.
//   - others: 16-bit integers, one pair or one alone at a time. A cell is x - zero point.
// No intermediate saturates: products of bytes are added in 32 bits, and pairs of 16-bit products of (at most 255 times
// 127) fit into 32.
#pragma once

#include "kernels/portable/simd.h"
#include "runtime/requantize.h"

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace sparsenet::rt::SPARSENET_ISA {

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
using Cell = uint8_t;
using Weight = int8_t;
constexpr int kStep = 4;
constexpr int kCellOffset = 128;
#elif defined(__SSE2__)
using Cell = int16_t;
using Weight = int16_t;
constexpr int kStep = 2;
constexpr int kCellOffset = 0;
#elif defined(__ARM_NEON)
using Cell = int8_t;
using Weight = int8_t;
constexpr int kCellOffset = 0;
#if defined(__ARM_FEATURE_DOTPROD)
constexpr int kStep = 4;
#else
constexpr int kStep = 2;
#endif
#else
using Cell = int16_t;
using Weight = int16_t;
constexpr int kStep = 1;
constexpr int kCellOffset = 0;
#endif
#if defined(__SSE2__) && !defined(__AVX512F__) && !defined(__AVXVNNI__)
#define SPARSENET_PAIRS  // for kernels that compute with pairs of 16-bit numbers
#endif
// A cell that is a byte is x + kCellOffset, another one is x - zero point.
constexpr bool kByteCells = sizeof(Cell) == 1;
constexpr int kBlockCells = 64 / static_cast<int>(sizeof(Cell));  // of one pixel in a panel: a cache line

// What is added to an integer to make it a cell, and the cell of a zero.
SPARSENET_INLINE int32_t cell_offset(int32_t zero) {
  return kByteCells ? kCellOffset : -zero;
}
SPARSENET_INLINE Cell cell_of_zero(int32_t zero) {
  return static_cast<Cell>(zero + cell_offset(zero));
}

// kLanes integers; GCC's vector types have the operators of their elements.
typedef int32_t VI __attribute__((vector_size(4 * kLanes)));
typedef uint32_t VU __attribute__((vector_size(4 * kLanes)));

typedef int32_t VIUnaligned __attribute__((vector_size(4 * kLanes), aligned(1), may_alias));

// (Not by memcpy: on some machines compilers would keep vectors that are copied so in memory.)
SPARSENET_INLINE VI load_vi(const void* from) {
  return *static_cast<const VIUnaligned*>(from);
}
SPARSENET_INLINE void store_vi(void* to, VI v) {
  *static_cast<VIUnaligned*>(to) = v;
}
SPARSENET_INLINE VI splat_vi(int32_t x) {
  return x - VI{};
}

// a + b modulo 2^32.
SPARSENET_INLINE VI added_vi(VI a, VI b) {
  return reinterpret_cast<VI>(reinterpret_cast<VU>(a) + reinterpret_cast<VU>(b));
}

// kStep cells or weights for every lane, and the sum with their products.
#if defined(__AVX512VNNI__)
using WeightVector = VI;
SPARSENET_INLINE VI dot_lanes(VI sum, VI x, VI w) {
  return reinterpret_cast<VI>(
      _mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(w)));
}
#elif defined(__AVXVNNI__)
using WeightVector = VI;
SPARSENET_INLINE VI dot_lanes(VI sum, VI x, VI w) {
  return reinterpret_cast<VI>(_mm256_dpbusd_avx_epi32(reinterpret_cast<__m256i>(sum), reinterpret_cast<__m256i>(x),
                                                      reinterpret_cast<__m256i>(w)));
}
#elif defined(__AVX512BW__)
using WeightVector = VI;
SPARSENET_INLINE VI dot_lanes(VI sum, VI x, VI w) {
  return added_vi(sum,
                  reinterpret_cast<VI>(_mm512_madd_epi16(reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(w))));
}
#elif defined(__AVX2__)
using WeightVector = VI;
SPARSENET_INLINE VI dot_lanes(VI sum, VI x, VI w) {
  return added_vi(sum,
                  reinterpret_cast<VI>(_mm256_madd_epi16(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(w))));
}
#elif defined(__SSE2__)
using WeightVector = VI;
SPARSENET_INLINE VI dot_lanes(VI sum, VI x, VI w) {
  return added_vi(sum,
                  reinterpret_cast<VI>(_mm_madd_epi16(reinterpret_cast<__m128i>(x), reinterpret_cast<__m128i>(w))));
}
#elif defined(__ARM_FEATURE_DOTPROD)
using WeightVector = VI;
SPARSENET_INLINE VI dot_lanes(VI sum, VI x, VI w) {
  return reinterpret_cast<VI>(
      vdotq_s32(reinterpret_cast<int32x4_t>(sum), reinterpret_cast<int8x16_t>(w), reinterpret_cast<int8x16_t>(x)));
}
#elif defined(__ARM_NEON)
using WeightVector = int8x8_t;
SPARSENET_INLINE VI dot_lanes(VI sum, int8x8_t x, int8x8_t w) {
  return reinterpret_cast<VI>(vpadalq_s16(reinterpret_cast<int32x4_t>(sum), vmull_s8(x, w)));
}
#else
typedef int16_t WeightVector __attribute__((vector_size(2 * kLanes)));
SPARSENET_INLINE VI dot_lanes(VI sum, WeightVector x, WeightVector w) {
  return added_vi(sum, __builtin_convertvector(w, VI) * __builtin_convertvector(x, VI));
}
#endif

// The cells of kStep channels, as one number that is the same for all lanes.
#if defined(__ARM_NEON) && !defined(__ARM_FEATURE_DOTPROD)
using Cells = int16_t;
SPARSENET_INLINE VI dot(VI sum, Cells x, WeightVector w) {
  return dot_lanes(sum, vreinterpret_s8_s16(vdup_n_s16(x)), w);
}
#elif defined(__SSE2__) || defined(__ARM_NEON)
using Cells = int32_t;
SPARSENET_INLINE VI dot(VI sum, Cells x, WeightVector w) {
  return dot_lanes(sum, splat_vi(x), w);
}
#else
using Cells = int16_t;
SPARSENET_INLINE VI dot(VI sum, Cells x, WeightVector w) {
  return added_vi(sum, __builtin_convertvector(w, VI) * int32_t{x});
}
#endif
SPARSENET_INLINE Cells load_cells(const Cell* at) {
  Cells cells;
  static_assert(sizeof cells == kStep * sizeof(Cell), "cells of one step");
  memcpy(&cells, at, sizeof cells);
  return cells;
}

#if defined(__ARM_NEON) && !defined(__ARM_FEATURE_DOTPROD)
SPARSENET_INLINE WeightVector load_weights(const Weight* from) {
  return vld1_s8(from);
}
#elif defined(__SSE2__) || defined(__ARM_NEON)
SPARSENET_INLINE WeightVector load_weights(const void* from) {
  return load_vi(from);
}
#else
SPARSENET_INLINE WeightVector load_weights(const Weight* from) {
  WeightVector w;
  memcpy(&w, from, sizeof w);
  return w;
}
#endif

SPARSENET_INLINE VI min_vi(VI a, VI b) {
  return a < b ? a : b;
}
SPARSENET_INLINE VI max_vi(VI a, VI b) {
  return a > b ? a : b;
}

#if defined(__AVX2__)
// The first `count` of eight bytes, which are those of a number: 0 < count <= 8.
SPARSENET_INLINE uint64_t load_some(const int8_t* from, int count) {
  uint64_t eight = 0;
  if (count == 8) {
    memcpy(&eight, from, 8);
    return eight;
  }
  uint32_t four = 0;
  uint16_t two = 0;
  if ((count & 1) != 0) eight = static_cast<uint8_t>(from[count - 1]);
  if ((count & 2) != 0) {
    memcpy(&two, from + (count & 4), 2);
    eight = eight << 16 | two;
  }
  if ((count & 4) != 0) {
    memcpy(&four, from, 4);
    eight = eight << 32 | four;
  }
  return eight;
}
SPARSENET_INLINE void store_some(int8_t* to, uint64_t eight, int count) {
  if (count == 8) {
    memcpy(to, &eight, 8);
    return;
  }
  if ((count & 4) != 0) {
    const auto four = static_cast<uint32_t>(eight);
    memcpy(to, &four, 4);
    eight >>= 32;
    to += 4;
  }
  if ((count & 2) != 0) {
    const auto two = static_cast<uint16_t>(eight);
    memcpy(to, &two, 2);
    eight >>= 16;
    to += 2;
  }
  if ((count & 1) != 0) *to = static_cast<int8_t>(eight);
}
#endif

// Integers in [-128, 127] as bytes.
SPARSENET_INLINE void store_bytes(int8_t* to, VI v, int count) {
#if defined(__AVX512F__)
  _mm512_mask_cvtepi32_storeu_epi8(to, static_cast<__mmask16>((1u << count) - 1u), reinterpret_cast<__m512i>(v));
#elif defined(__AVX2__)
  const auto x = reinterpret_cast<__m256i>(v);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  store_some(to, static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_packs_epi16(words, words))), count);
#else
  typedef int8_t Bytes __attribute__((vector_size(kLanes)));
#if defined(__SSE2__)
  const __m128i words = _mm_packs_epi32(reinterpret_cast<__m128i>(v), reinterpret_cast<__m128i>(v));
  const int32_t packed = _mm_cvtsi128_si32(_mm_packs_epi16(words, words));
  Bytes bytes;
  memcpy(&bytes, &packed, sizeof bytes);
#elif defined(__ARM_NEON)
  const int16x4_t words = vmovn_s32(reinterpret_cast<int32x4_t>(v));
  const int8x8_t packed = vmovn_s16(vcombine_s16(words, words));
  Bytes bytes;
  memcpy(&bytes, &packed, sizeof bytes);
#else
  const Bytes bytes = __builtin_convertvector(v, Bytes);
#endif
  if (count == kLanes) {
    memcpy(to, &bytes, sizeof bytes);
  } else {
    for (int i = 0; i < count; ++i) to[i] = bytes[i];
  }
#endif
}

// kLanes bytes as integers.
SPARSENET_INLINE VI load_whole_bytes(const int8_t* from) {
#if defined(__AVX512F__)
  return reinterpret_cast<VI>(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#elif defined(__AVX2__)
  return reinterpret_cast<VI>(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
#elif defined(__ARM_NEON)
  int32_t bytes;
  memcpy(&bytes, from, sizeof bytes);
  return reinterpret_cast<VI>(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(bytes))))));
#else
  typedef int8_t Bytes __attribute__((vector_size(kLanes)));
  Bytes bytes;
  memcpy(&bytes, from, sizeof bytes);
  return __builtin_convertvector(bytes, VI);
#endif
}

// `count` bytes as integers; lanes beyond are zero.
SPARSENET_INLINE VI load_bytes(const int8_t* from, int count) {
#if defined(__AVX512F__)
  const auto mask = static_cast<__mmask16>((1u << count) - 1u);
  return reinterpret_cast<VI>(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, from)));
#else
  if (count == kLanes) return load_whole_bytes(from);
#if defined(__AVX2__)
  const __m128i bytes = _mm_cvtsi64_si128(static_cast<int64_t>(load_some(from, count)));
  return reinterpret_cast<VI>(_mm256_cvtepi8_epi32(bytes));
#else
  int8_t bytes[kLanes] = {};
  for (int i = 0; i < count; ++i) bytes[i] = from[i];
  return load_whole_bytes(bytes);
#endif
#endif
}

// What Scale does to channels, an array for each number, with room for whole vectors.
struct ChannelScales {
  const int32_t *multiplier, *addend, *shift;  // null: nothing
};

// Bytes of the arrays for `channels` channels.
SPARSENET_INLINE size_t scales_bytes(int channels) {
  return size_t{3} * static_cast<size_t>((channels + kLanes - 1) / kLanes * kLanes + kLanes) * sizeof(int32_t);
}

SPARSENET_INLINE ChannelScales make_scales(const ChannelScale* channels, int count, int32_t* to) {
  if (!channels) return {};
  const int padded = (count + kLanes - 1) / kLanes * kLanes + kLanes;
  for (int c = 0; c < count; ++c) {
    to[c] = channels[c].multiplier;
    to[padded + c] = channels[c].addend;
    to[2 * padded + c] = channels[c].shift;
  }
  return {to, to + padded, to + 2 * padded};
}

// scaled() of requantize.h for the lanes from channel `c` on; 32 bits are enough for what make_channel_scale() makes.
SPARSENET_INLINE VI scaled_vector(VI x, const ChannelScales& s, int c) {
  const VI v = (x * load_vi(s.multiplier + c) + load_vi(s.addend + c)) >> load_vi(s.shift + c);
  return min_vi(max_vi(v, splat_vi(-128)), splat_vi(127));
}

// Channel ranges whose elements are bytes.
struct ByteRange {
  const int8_t* base;
  int32_t channels;
  int32_t pixel_stride;
};

SPARSENET_INLINE ByteRange byte_range(const Segment& s, uint8_t* arena) {
  const void* base = s.constant ? s.constant : arena + s.offset;
  return {static_cast<const int8_t*>(base), s.channels, s.pixel_stride};
}

SPARSENET_INLINE int8_t* byte_pointer(const View& v, uint8_t* arena) {
  return reinterpret_cast<int8_t*>(arena + v.segments[0].offset);
}

}  // namespace sparsenet::rt::SPARSENET_ISA

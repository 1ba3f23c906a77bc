// Vectors of 32-bit integers, and the products that kernels of int8 are built on.
//
// A dot product adds to every lane kStep products of two neighbouring channels' cells and weights. How an activation
// becomes a cell depends on what the instruction set multiplies:
//   - AVX-512 VNNI, AVX-VNNI: unsigned bytes with signed ones, four at a time. A cell is x + 128, and what that adds to
//     a sum is taken off its bias.
//   - others: 16-bit integers, one pair or one alone at a time. A cell is x - zero point.
// No intermediate saturates: products of bytes are added in 32 bits, and pairs of 16-bit products of (at most 255 times
// 127) fit into 32.
#pragma once

#include "kernels/portable/simd.h"
#include "runtime/requantize.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace sparsenet::rt::SPARSENET_ISA {

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
using Cell = uint8_t;
constexpr int kStep = 4;
constexpr bool kUnsignedCells = true;
using Weight = int8_t;
#elif defined(__SSE2__)
using Cell = int16_t;
constexpr int kStep = 2;
constexpr bool kUnsignedCells = false;
using Weight = int16_t;
#else
using Cell = int16_t;
constexpr int kStep = 1;
constexpr bool kUnsignedCells = false;
using Weight = int16_t;
#endif
constexpr int kBlockCells = 64 / static_cast<int>(sizeof(Cell));  // of one pixel in a panel: a cache line

// kLanes integers; GCC's vector types have the operators of their elements.
typedef int32_t VI __attribute__((vector_size(4 * kLanes)));
typedef uint32_t VU __attribute__((vector_size(4 * kLanes)));

SPARSENET_INLINE VI load_vi(const void* from) {
  VI v;
  memcpy(&v, from, sizeof v);
  return v;
}
SPARSENET_INLINE void store_vi(void* to, VI v) {
  memcpy(to, &v, sizeof v);
}
SPARSENET_INLINE VI splat_vi(int32_t x) {
  return x - VI{};
}

// The cells of kStep channels, as one number that is the same for all lanes.
using Cells = int32_t;
SPARSENET_INLINE Cells load_cells(const Cell* at) {
  if constexpr (kStep == 1) return *at;
  int32_t cells;
  memcpy(&cells, at, sizeof cells);
  return cells;
}

#if defined(__AVX512VNNI__)
using WeightVector = VI;
SPARSENET_INLINE VI dot(VI sum, Cells x, VI w) {
  return reinterpret_cast<VI>(
      _mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), _mm512_set1_epi32(x), reinterpret_cast<__m512i>(w)));
}
#elif defined(__AVXVNNI__)
using WeightVector = VI;
SPARSENET_INLINE VI dot(VI sum, Cells x, VI w) {
  return reinterpret_cast<VI>(
      _mm256_dpbusd_avx_epi32(reinterpret_cast<__m256i>(sum), _mm256_set1_epi32(x), reinterpret_cast<__m256i>(w)));
}
#elif defined(__AVX512BW__)
using WeightVector = VI;
SPARSENET_INLINE VI dot(VI sum, Cells x, VI w) {
  return sum + reinterpret_cast<VI>(_mm512_madd_epi16(_mm512_set1_epi32(x), reinterpret_cast<__m512i>(w)));
}
#elif defined(__AVX2__)
using WeightVector = VI;
SPARSENET_INLINE VI dot(VI sum, Cells x, VI w) {
  return sum + reinterpret_cast<VI>(_mm256_madd_epi16(_mm256_set1_epi32(x), reinterpret_cast<__m256i>(w)));
}
#elif defined(__SSE2__)
using WeightVector = VI;
SPARSENET_INLINE VI dot(VI sum, Cells x, VI w) {
  return sum + reinterpret_cast<VI>(_mm_madd_epi16(_mm_set1_epi32(x), reinterpret_cast<__m128i>(w)));
}
#else
typedef int16_t WeightVector __attribute__((vector_size(2 * kLanes)));
SPARSENET_INLINE VI dot(VI sum, Cells x, WeightVector w) {
  return sum + __builtin_convertvector(w, VI) * x;
}
#endif

SPARSENET_INLINE WeightVector load_weights(const Weight* from) {
  WeightVector w;
  memcpy(&w, from, sizeof w);
  return w;
}

// What all sums of a kernel's outputs are requantised with; the arrays have whole vectors.
struct Requantize {
  const int32_t* bias;
  const int32_t* multiplier;
  const int32_t* shift;
  Rounding rounding;
  int32_t zero, low, high;
};

// The same for one vector of outputs.
struct RequantizeVector {
  VI bias, multiplier, shift, zero, low, high;
};

SPARSENET_INLINE RequantizeVector load_requantize(const Requantize& r, int first) {
  return {load_vi(r.bias + first),  load_vi(r.multiplier + first),
          load_vi(r.shift + first), splat_vi(r.zero),
          splat_vi(r.low),          splat_vi(r.high)};
}

SPARSENET_INLINE VI min_vi(VI a, VI b) {
  return a < b ? a : b;
}
SPARSENET_INLINE VI max_vi(VI a, VI b) {
  return a > b ? a : b;
}

#if defined(__AVX2__)
// Products of the even lanes and of the odd ones, in 64 bits, to which `rest` makes 64-bit results, whose lower halves
// are what is wanted.
template <class Rest>
SPARSENET_INLINE VI by_halves(VI a, VI b, VI c, Rest rest) {
#if defined(__AVX512F__)
  const auto x = reinterpret_cast<__m512i>(a), y = reinterpret_cast<__m512i>(b), z = reinterpret_cast<__m512i>(c);
  const __m512i even = rest(_mm512_mul_epi32(x, y), _mm512_and_si512(z, _mm512_set1_epi64(0xffffffff)));
  const __m512i odd =
      rest(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(y, 32)), _mm512_srli_epi64(z, 32));
  return reinterpret_cast<VI>(_mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32)));
#else
  const auto x = reinterpret_cast<__m256i>(a), y = reinterpret_cast<__m256i>(b), z = reinterpret_cast<__m256i>(c);
  const __m256i even = rest(_mm256_mul_epi32(x, y), _mm256_and_si256(z, _mm256_set1_epi64x(0xffffffff)));
  const __m256i odd =
      rest(_mm256_mul_epi32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(y, 32)), _mm256_srli_epi64(z, 32));
  return reinterpret_cast<VI>(_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa));
#endif
}

// multiplied() of requantize.h, in every lane.
SPARSENET_INLINE VI multiplied_single(VI x, VI multiplier, VI shift) {
#if defined(__AVX512F__)
  return by_halves(x, multiplier, 31 - shift, [](__m512i product, __m512i right) {
    const __m512i half = _mm512_sllv_epi64(_mm512_set1_epi64(1), _mm512_sub_epi64(right, _mm512_set1_epi64(1)));
    return _mm512_srav_epi64(_mm512_add_epi64(product, half), right);
  });
#else
  // There is no arithmetic shift of 64 bits: 2^62 makes the numbers positive, and is taken off again.
  return by_halves(x, multiplier, 31 - shift, [](__m256i product, __m256i right) {
    const __m256i half = _mm256_sllv_epi64(_mm256_set1_epi64x(1), _mm256_sub_epi64(right, _mm256_set1_epi64x(1)));
    const __m256i most = _mm256_set1_epi64x(int64_t{1} << 62);
    const __m256i shifted = _mm256_srlv_epi64(_mm256_add_epi64(_mm256_add_epi64(product, half), most), right);
    return _mm256_sub_epi64(shifted, _mm256_srlv_epi64(most, right));
  });
#endif
}

SPARSENET_INLINE VI multiplied_double(VI x, VI multiplier, VI shift) {
  const VI left = max_vi(shift, VI{}), right = left - shift;
#if defined(__AVX512F__)
  const VI high = by_halves(x << left, multiplier, VI{}, [](__m512i product, __m512i) {
    return _mm512_srli_epi64(_mm512_add_epi64(product, _mm512_set1_epi64(1 << 30)), 31);
  });
#else
  const VI high = by_halves(x << left, multiplier, VI{}, [](__m256i product, __m256i) {
    return _mm256_srli_epi64(_mm256_add_epi64(product, _mm256_set1_epi64x(1 << 30)), 31);
  });
#endif
  // The quotient by 2^right; a rest of more than half counts, half only of what is not negative.
  const VI mask = (VI)(((VU{} + 1u) << (VU)right) - 1u);
  const VI most = (mask >> 1) - (high >> 31);
  return (high >> right) - ((high & mask) > most);
}
#else
SPARSENET_INLINE VI multiplied_by(VI x, VI multiplier, VI shift, Rounding rounding) {
  VI y;
  for (int i = 0; i < kLanes; ++i) y[i] = multiplied(x[i], {multiplier[i], shift[i]}, rounding);
  return y;
}
SPARSENET_INLINE VI multiplied_single(VI x, VI multiplier, VI shift) {
  return multiplied_by(x, multiplier, shift, Rounding::kSingle);
}
SPARSENET_INLINE VI multiplied_double(VI x, VI multiplier, VI shift) {
  return multiplied_by(x, multiplier, shift, Rounding::kDouble);
}
#endif

template <Rounding kRounding>
SPARSENET_INLINE VI multiplied_vector(VI x, VI multiplier, VI shift) {
  return kRounding == Rounding::kDouble ? multiplied_double(x, multiplier, shift)
                                        : multiplied_single(x, multiplier, shift);
}

template <Rounding kRounding>
SPARSENET_INLINE VI requantized(VI sum, const RequantizeVector& r) {
  const VI v = multiplied_vector<kRounding>(sum + r.bias, r.multiplier, r.shift) + r.zero;
  return min_vi(max_vi(v, r.low), r.high);
}

// Integers in [-128, 127] as bytes.
SPARSENET_INLINE void store_bytes(int8_t* to, VI v, int count) {
#if defined(__AVX512F__)
  _mm512_mask_cvtepi32_storeu_epi8(to, static_cast<__mmask16>((1u << count) - 1u), reinterpret_cast<__m512i>(v));
#else
  typedef int8_t Bytes __attribute__((vector_size(kLanes)));
#if defined(__AVX2__)
  const auto x = reinterpret_cast<__m256i>(v);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  const int64_t packed = _mm_cvtsi128_si64(_mm_packs_epi16(words, words));
  Bytes bytes;
  memcpy(&bytes, &packed, sizeof bytes);
#elif defined(__SSE2__)
  const __m128i words = _mm_packs_epi32(reinterpret_cast<__m128i>(v), reinterpret_cast<__m128i>(v));
  const int32_t packed = _mm_cvtsi128_si32(_mm_packs_epi16(words, words));
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
  int8_t bytes[kLanes] = {};
  for (int i = 0; i < count; ++i) bytes[i] = from[i];
  return load_whole_bytes(bytes);
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

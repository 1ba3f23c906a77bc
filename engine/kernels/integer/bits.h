// Whole registers of AVX2 and AVX-512, for what vector types of 32-bit integers cannot say. Where instructions work
// within 128 bits, that is so with both.
#pragma once

#include "kernels/integer/vectors.h"

#if defined(__AVX2__)

namespace sparsenet::rt::SPARSENET_ISA {

#if defined(__AVX512F__)
using Bits = __m512i;
#define SPARSENET_BITS(operation) _mm512_##operation
#else
using Bits = __m256i;
#define SPARSENET_BITS(operation) _mm256_##operation
#endif

SPARSENET_INLINE Bits bits(VI v) {
  return reinterpret_cast<Bits>(v);
}
SPARSENET_INLINE VI vector_of(Bits v) {
  return reinterpret_cast<VI>(v);
}

// Whether any lane is negative.
SPARSENET_INLINE bool any_negative(VI v) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask(bits(v)) != 0;
#else
  return _mm256_movemask_ps(reinterpret_cast<__m256>(v)) != 0;
#endif
}

#if defined(__AVX512F__)
constexpr int kToNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
#endif

// a * b + c, rounded once: to the nearest number with AVX-512, else as the thread is set, which is so by default.
SPARSENET_INLINE V multiply_add(V a, V b, V c) {
#if defined(__AVX512F__)
  return reinterpret_cast<V>(_mm512_fmadd_round_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b),
                                                   reinterpret_cast<__m512>(c), kToNearest));
#else
  return reinterpret_cast<V>(
      _mm256_fmadd_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(c)));
#endif
}
// To the nearest integer, ties to even; likewise.
SPARSENET_INLINE VI nearest_even(V x) {
#if defined(__AVX512F__)
  return vector_of(_mm512_cvt_roundps_epi32(reinterpret_cast<__m512>(x), kToNearest));
#else
  return vector_of(_mm256_cvtps_epi32(reinterpret_cast<__m256>(x)));
#endif
}

// --- 64-bit integers, two lanes each

SPARSENET_INLINE Bits splat_64(int64_t x) {
#if defined(__AVX512F__)
  return _mm512_set1_epi64(x);
#else
  return _mm256_set1_epi64x(x);
#endif
}
SPARSENET_INLINE Bits add_64(Bits a, Bits b) {
  return SPARSENET_BITS(add_epi64)(a, b);
}
SPARSENET_INLINE Bits subtract_64(Bits a, Bits b) {
  return SPARSENET_BITS(sub_epi64)(a, b);
}
SPARSENET_INLINE Bits left_64(Bits a, Bits by) {
  return SPARSENET_BITS(sllv_epi64)(a, by);
}
template <int kBy>
SPARSENET_INLINE Bits left_64(Bits a) {
  return SPARSENET_BITS(slli_epi64)(a, kBy);
}
template <int kBy>
SPARSENET_INLINE Bits right_64(Bits a) {
  return SPARSENET_BITS(srli_epi64)(a, kBy);
}
// The odd lanes in the even ones, and anything in the odd ones. (A shift does so as well, but on a port that has more
// to do.)
SPARSENET_INLINE Bits odd_lanes(Bits a) {
#if defined(__AVX512F__)
  return _mm512_shuffle_epi32(a, _MM_PERM_DDBB);
#else
  return _mm256_shuffle_epi32(a, 0xf5);
#endif
}
// Products of the even lanes.
SPARSENET_INLINE Bits multiply_even(Bits a, Bits b) {
  return SPARSENET_BITS(mul_epi32)(a, b);
}
// The even lanes as 64-bit integers that are not negative.
SPARSENET_INLINE Bits even_lanes(Bits a) {
#if defined(__AVX512F__)
  return _mm512_and_si512(a, splat_64(0xffffffff));
#else
  return _mm256_and_si256(a, splat_64(0xffffffff));
#endif
}
// The upper halves of 64-bit integers: those of `even` in the even lanes, those of `odd` in the odd ones.
SPARSENET_INLINE Bits merge_upper(Bits even, Bits odd) {
#if defined(__AVX512F__)
  return _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
#else
  return _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
#endif
}
SPARSENET_INLINE Bits merge_lanes(Bits even, Bits odd) {
#if defined(__AVX512F__)
  return _mm512_mask_blend_epi32(0xaaaa, even, odd);
#else
  return _mm256_blend_epi32(even, odd, 0xaa);
#endif
}

// --- 16-bit integers

SPARSENET_INLINE Bits splat_16(int32_t x) {
  return SPARSENET_BITS(set1_epi16)(static_cast<int16_t>(x));
}
SPARSENET_INLINE Bits bounded_16(Bits v, Bits low, Bits high) {
  return SPARSENET_BITS(min_epi16)(SPARSENET_BITS(max_epi16)(v, low), high);
}
SPARSENET_INLINE Bits splat_8(int32_t x) {
  return SPARSENET_BITS(set1_epi8)(static_cast<char>(x));
}
SPARSENET_INLINE Bits bounded_8(Bits v, Bits low, Bits high) {
  return SPARSENET_BITS(min_epi8)(SPARSENET_BITS(max_epi8)(v, low), high);
}
// Two vectors as one of 16-bit integers, saturated: of every 128 bits, the lanes of `a` in front of those of `b`.
SPARSENET_INLINE Bits words_of(VI a, VI b) {
  return SPARSENET_BITS(packs_epi32)(bits(a), bits(b));
}

// --- bytes

// The bytes of four vectors in their order, of which words_of() made pairs; saturated.
SPARSENET_INLINE Bits bytes_of(Bits a, Bits b) {
#if defined(__AVX512F__)
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, _mm512_packs_epi16(a, b));
#else
  return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
#endif
}

SPARSENET_INLINE void store_bits(void* to, Bits v) {
#if defined(__AVX512F__)
  _mm512_storeu_si512(to, v);
#else
  _mm256_storeu_si256(static_cast<__m256i*>(to), v);
#endif
}

}  // namespace sparsenet::rt::SPARSENET_ISA

#endif

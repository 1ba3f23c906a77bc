// Vectors of the instruction set that this file is compiled for.
//
// Kernel sources are written once over the type V (kLanes floats) and compiled once per instruction set: CMake defines
// SPARSENET_ISA (the namespace) and SPARSENET_LANES and gives the flags to those files alone. They include no standard
// C++ header: an inline function of the library compiled for AVX-512 must never be the copy that the linker keeps for
// the whole program.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#define SPARSENET_INLINE inline __attribute__((always_inline))
#define SPARSENET_STRINGIFY_(x) #x
#define SPARSENET_STRINGIFY(x) SPARSENET_STRINGIFY_(x)
#define SPARSENET_ISA_NAME SPARSENET_STRINGIFY(SPARSENET_ISA)

namespace sparsenet::rt::SPARSENET_ISA {

constexpr int kLanes = SPARSENET_LANES;
typedef float V __attribute__((vector_size(SPARSENET_LANES * 4)));
typedef float VUnaligned __attribute__((vector_size(SPARSENET_LANES * 4), aligned(4), may_alias));
typedef int32_t VInt __attribute__((vector_size(SPARSENET_LANES * 4)));

// Accumulator registers that a register tile may use; the rest hold weights and the broadcast input.
#if defined(__AVX512F__) || defined(__aarch64__) || defined(__riscv_vector)
constexpr int kAccumulators = 24;
#else
constexpr int kAccumulators = 12;
#endif

SPARSENET_INLINE V load(const float* p) {
  return *reinterpret_cast<const VUnaligned*>(p);
}
SPARSENET_INLINE void store(float* p, V v) {
  *reinterpret_cast<VUnaligned*>(p) = v;
}
SPARSENET_INLINE V splat(float x) {
  return x - V{};
}

// Load and store the first n lanes (0 < n <= kLanes). Loads fill the others with zero; stores leave the memory beyond
// alone.
SPARSENET_INLINE V load_first(const float* p, int n) {
#if defined(__AVX512F__)
  return reinterpret_cast<V>(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p));
#else
  if (n == kLanes) return load(p);
  V v{};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}
SPARSENET_INLINE void store_first(float* p, V v, int n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), reinterpret_cast<__m512>(v));
#else
  if (n == kLanes) {
    store(p, v);
  } else {
    for (int i = 0; i < n; ++i) p[i] = v[i];
  }
#endif
}

// Lane i of the result is lane index[i] of v.
SPARSENET_INLINE V permute(V v, VInt index) {
#if defined(__AVX512F__)
  return reinterpret_cast<V>(_mm512_permutexvar_ps(reinterpret_cast<__m512i>(index), reinterpret_cast<__m512>(v)));
#elif defined(__AVX2__)
  return reinterpret_cast<V>(_mm256_permutevar8x32_ps(reinterpret_cast<__m256>(v), reinterpret_cast<__m256i>(index)));
#else
  V out{};
  for (int i = 0; i < kLanes; ++i) out[i] = v[index[i]];
  return out;
#endif
}

// If either operand is NaN, the second one is the result, as with the x86 instructions. So with a bound as the first
// operand, a NaN passes through.
SPARSENET_INLINE V vmax(V a, V b) {
#if defined(__AVX512F__)
  return reinterpret_cast<V>(_mm512_max_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<V>(_mm256_max_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b)));
#else
  return a > b ? a : b;
#endif
}
SPARSENET_INLINE V vmin(V a, V b) {
#if defined(__AVX512F__)
  return reinterpret_cast<V>(_mm512_min_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<V>(_mm256_min_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b)));
#else
  return a < b ? a : b;
#endif
}

SPARSENET_INLINE int imin(int a, int b) {
  return a < b ? a : b;
}
SPARSENET_INLINE int imax(int a, int b) {
  return a > b ? a : b;
}
SPARSENET_INLINE int ceil_div(int a, int b) {
  return (a + b - 1) / b;
}

// min(max(x, low), high); NaN stays NaN.
SPARSENET_INLINE V bounded(V x, V low, V high) {
  return vmin(high, vmax(low, x));
}

// The nearest integers.
SPARSENET_INLINE VInt vround(V x) {
#if defined(__AVX512F__)
  return reinterpret_cast<VInt>(_mm512_cvtps_epi32(reinterpret_cast<__m512>(x)));
#elif defined(__AVX2__)
  return reinterpret_cast<VInt>(_mm256_cvtps_epi32(reinterpret_cast<__m256>(x)));
#else
  return __builtin_convertvector(x + (x < 0.f ? splat(-0.5f) : splat(0.5f)), VInt);
#endif
}

// 1 / x for 2^-100 < x < 2^127, to an ulp or two.
SPARSENET_INLINE V vreciprocal(V x) {
#if defined(__AVX512F__)
  // The instruction has 14 bits; a step of Newton's method doubles them.
  const V y = reinterpret_cast<V>(_mm512_rcp14_ps(reinterpret_cast<__m512>(x)));
  return y * (2.f - x * y);
#else
  return 1.f / x;
#endif
}

// e^x to about 2e-7 relative: x = n ln 2 + r with |r| <= ln 2 / 2, a degree-6 Taylor polynomial in r, times 2^n through
// the exponent bits. Inputs are limited to [-87, 88], where the result is a normal number.
SPARSENET_INLINE V vexp(V x) {
  x = bounded(x, splat(-87.f), splat(88.f));
  const VInt n = vround(x * 1.44269504f);
  const V f = __builtin_convertvector(n, V);
  const V r = (x - f * 0.693359375f) - f * -2.12194440e-4f;
  V p = splat(1.f / 720);
  p = p * r + 1.f / 120;
  p = p * r + 1.f / 24;
  p = p * r + 1.f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.f;
  p = p * r + 1.f;
  return p * reinterpret_cast<V>((n + 127) << 23);
}

SPARSENET_INLINE V vsigmoid(V x) {
  return vreciprocal(1.f + vexp(-x));
}
// tanh x = 1 - 2 / (e^2x + 1), with an absolute error near 1e-7. For small |x| it uses the odd polynomial, whose
// relative error stays small.
SPARSENET_INLINE V vtanh(V x) {
  const V x2 = x * x;
  const V small = x * (1.f + x2 * (-1.f / 3 + x2 * (2.f / 15 + x2 * (-17.f / 315))));
  const V big = 1.f - 2.f * vreciprocal(vexp(x + x) + 1.f);
  return x2 < 0.04f ? small : big;
}

}  // namespace sparsenet::rt::SPARSENET_ISA

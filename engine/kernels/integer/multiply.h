// Multiplication by factors that are not integers, in every lane: the arithmetic of runtime/requantize.h, bit by bit.
#pragma once

#include "kernels/integer/vectors.h"

namespace sparsenet::rt::SPARSENET_ISA {

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
#elif defined(__ARM_NEON)
SPARSENET_INLINE VI multiplied_single(VI x, VI multiplier, VI shift) {
  const auto a = reinterpret_cast<int32x4_t>(x), b = reinterpret_cast<int32x4_t>(multiplier),
             left = reinterpret_cast<int32x4_t>(shift - 31);
  // The shift to the right rounds half up.
  const int64x2_t low = vrshlq_s64(vmull_s32(vget_low_s32(a), vget_low_s32(b)), vmovl_s32(vget_low_s32(left)));
  const int64x2_t high = vrshlq_s64(vmull_s32(vget_high_s32(a), vget_high_s32(b)), vmovl_s32(vget_high_s32(left)));
  return reinterpret_cast<VI>(vcombine_s32(vmovn_s64(low), vmovn_s64(high)));
}

SPARSENET_INLINE VI multiplied_double(VI x, VI multiplier, VI shift) {
  const VI left = max_vi(shift, VI{}), right = shift - left;  // what is shifted to the right is negative
  const int32x4_t high = vqrdmulhq_s32(vshlq_s32(reinterpret_cast<int32x4_t>(x), reinterpret_cast<int32x4_t>(left)),
                                       reinterpret_cast<int32x4_t>(multiplier));
  // Half of what is negative is rounded down.
  const int32x4_t negative = vshrq_n_s32(vandq_s32(high, reinterpret_cast<int32x4_t>(right)), 31);
  return reinterpret_cast<VI>(vrshlq_s32(vqaddq_s32(high, negative), reinterpret_cast<int32x4_t>(right)));
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

// A factor that is the same for all lanes.
struct Factor {
  VI value, shift;
};
SPARSENET_INLINE Factor factor_of(const Multiplier& m) {
  return {splat_vi(m.value), splat_vi(m.shift)};
}
SPARSENET_INLINE VI by(VI x, const Factor& f, Rounding rounding) {
  return rounding == Rounding::kDouble ? multiplied_double(x, f.value, f.shift)
                                       : multiplied_single(x, f.value, f.shift);
}

// How sums are requantised. For small factors, or zero, there is less to do: kHighSingle is kSingle for factors in
// [2^-24, 1/2), where the upper halves of the products are all that matters and the zero point can be added to the
// products; kHighDouble is kDouble for factors below 1/4, where no number is shifted to the left.
enum class Form { kDouble, kSingle, kHighDouble, kHighSingle };

#if defined(__AVX2__) && !defined(__AVX512F__)
constexpr bool kHasHigh = true;
#else
constexpr bool kHasHigh = false;
#endif

SPARSENET_INLINE bool is_high(const Multiplier& m, Rounding rounding) {
  if (m.value == 0) return true;
  return rounding == Rounding::kDouble ? m.shift <= -2 : m.shift <= -1 && m.shift >= -23;
}
SPARSENET_INLINE Form form_of(Rounding rounding, bool high) {
  if (rounding == Rounding::kDouble) return high ? Form::kHighDouble : Form::kDouble;
  return high ? Form::kHighSingle : Form::kSingle;
}

// What all sums of a kernel's outputs are requantised with; the arrays have whole vectors.
struct Requantize {
  const int32_t* bias;  // where sums begin
  const int32_t* multiplier;
  const int32_t* shift;
  Form form;
  int32_t zero, low, high;
};

// The same for one vector of outputs.
struct RequantizeVector {
  VI multiplier, shift, zero, low, high;
#if defined(__AVX2__) && !defined(__AVX512F__)
  // What is added to the products of the even lanes and of the odd ones, and the odd multipliers in even lanes.
  VI even, odd, odd_multiplier;
#endif
};

template <Form kForm>
SPARSENET_INLINE RequantizeVector load_requantize(const Requantize& r, int first) {
  RequantizeVector v{};
  v.multiplier = load_vi(r.multiplier + first);
  v.shift = load_vi(r.shift + first);
  v.zero = splat_vi(r.zero);
  v.low = splat_vi(r.low);
  v.high = splat_vi(r.high);
#if defined(__AVX2__) && !defined(__AVX512F__)
  if constexpr (kForm == Form::kHighSingle) {
    const __m256i right = reinterpret_cast<__m256i>(31 - v.shift), twice = _mm256_set1_epi64x(2 * r.zero + 1);
    const __m256i one = _mm256_set1_epi64x(1);
    // Half of 2^right, and the zero point times it.
    const auto added = [&](__m256i exponent) { return _mm256_sllv_epi64(twice, _mm256_sub_epi64(exponent, one)); };
    v.even = reinterpret_cast<VI>(added(_mm256_and_si256(right, _mm256_set1_epi64x(0xffffffff))));
    v.odd = reinterpret_cast<VI>(added(_mm256_srli_epi64(right, 32)));
  }
  if constexpr (kForm == Form::kHighDouble) {
    v.even = v.odd = reinterpret_cast<VI>(_mm256_set1_epi64x(1 << 30));
    v.zero = 2 * v.zero + 1;
  }
  if constexpr (kForm == Form::kHighSingle || kForm == Form::kHighDouble) {
    v.odd_multiplier = reinterpret_cast<VI>(_mm256_srli_epi64(reinterpret_cast<__m256i>(v.multiplier), 32));
    v.shift = -1 - v.shift;
  }
#endif
  return v;
}

// For a factor that is the same for all lanes, without bounds.
template <Form kForm>
SPARSENET_INLINE RequantizeVector splat_requantize(const Multiplier& m, int32_t zero) {
  int32_t multiplier[kLanes], shift[kLanes];
  store_vi(multiplier, splat_vi(m.value));
  store_vi(shift, splat_vi(m.value == 0 ? -2 : m.shift));
  return load_requantize<kForm>({nullptr, multiplier, shift, kForm, zero, 0, 0}, 0);
}

// Requantised, but not yet within the bounds.
template <Form kForm>
SPARSENET_INLINE VI unbounded(VI sum, const RequantizeVector& r) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  if constexpr (kForm == Form::kHighSingle || kForm == Form::kHighDouble) {
    const auto x = reinterpret_cast<__m256i>(sum), shift = reinterpret_cast<__m256i>(r.shift);
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, reinterpret_cast<__m256i>(r.multiplier)),
                                          reinterpret_cast<__m256i>(r.even));
    const __m256i odd =
        _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(x, 32), reinterpret_cast<__m256i>(r.odd_multiplier)),
                         reinterpret_cast<__m256i>(r.odd));
    if constexpr (kForm == Form::kHighSingle) {
      const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
      return reinterpret_cast<VI>(_mm256_srav_epi32(high, shift));
    }
    const auto high =
        reinterpret_cast<VI>(_mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xaa));
    // Half of what is negative is rounded down. The last shift takes off one half and the zero point, which is doubled.
    const VI nudged = high + (high >> 31);
    return (reinterpret_cast<VI>(_mm256_srav_epi32(reinterpret_cast<__m256i>(nudged), shift)) + r.zero) >> 1;
  }
#endif
  return (kForm == Form::kDouble ? multiplied_double(sum, r.multiplier, r.shift)
                                 : multiplied_single(sum, r.multiplier, r.shift)) +
         r.zero;
}

template <Form kForm>
SPARSENET_INLINE VI requantized(VI sum, const RequantizeVector& r) {
  return min_vi(max_vi(unbounded<kForm>(sum, r), r.low), r.high);
}

// A Form as a type, for by_form.
template <Form kValue>
struct FormTag {
  static constexpr Form value = kValue;
};

// Calls f(FormTag), so that the inner loops know the form when they are compiled.
template <class F>
SPARSENET_INLINE void by_form(const Requantize& r, F f) {
  switch (r.form) {
    case Form::kDouble:
      return f(FormTag<Form::kDouble>{});
    case Form::kSingle:
      return f(FormTag<Form::kSingle>{});
    case Form::kHighDouble:
      return f(FormTag < kHasHigh ? Form::kHighDouble : Form::kDouble > {});
    case Form::kHighSingle:
      return f(FormTag < kHasHigh ? Form::kHighSingle : Form::kSingle > {});
  }
}

#if defined(__AVX2__) && !defined(__AVX512F__)
// Two vectors as one of 16-bit numbers, the lower four lanes of each in front of the upper ones.
SPARSENET_INLINE __m256i words_of(VI a, VI b) {
  return _mm256_packs_epi32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b));
}
SPARSENET_INLINE __m256i bounded_words(__m256i v, __m256i low, __m256i high) {
  return _mm256_min_epi16(_mm256_max_epi16(v, low), high);
}
// The bytes of four vectors in their order, of which words_of() made pairs.
SPARSENET_INLINE __m256i bytes_of(__m256i a, __m256i b) {
  return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
#endif

}  // namespace sparsenet::rt::SPARSENET_ISA

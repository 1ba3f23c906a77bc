// Multiplication by factors that are not integers, in every lane: the arithmetic of runtime/requantize.h, bit by bit.
#pragma once

#include "kernels/integer/bits.h"

namespace sparsenet::rt::SPARSENET_ISA {

#if defined(__AVX2__)
// Products of the even lanes and of the odd ones, in 64 bits, to which `rest` makes 64-bit results, whose lower halves
// are what is wanted.
template <class Rest>
SPARSENET_INLINE VI by_halves(VI a, VI b, VI c, Rest rest) {
  const Bits x = bits(a), y = bits(b), z = bits(c);
  const Bits even = rest(multiply_even(x, y), even_lanes(z));
  const Bits odd = rest(multiply_even(right_64<32>(x), right_64<32>(y)), right_64<32>(z));
  return vector_of(merge_lanes(even, left_64<32>(odd)));
}

// multiplied() of requantize.h, in every lane.
SPARSENET_INLINE VI multiplied_single(VI x, VI multiplier, VI shift) {
  return by_halves(x, multiplier, 31 - shift, [](Bits product, Bits right) {
    const Bits half = left_64(splat_64(1), subtract_64(right, splat_64(1)));
#if defined(__AVX512F__)
    return _mm512_srav_epi64(add_64(product, half), right);
#else
    // There is no arithmetic shift of 64 bits: 2^62 makes the numbers positive, and is taken off again.
    const Bits most = splat_64(int64_t{1} << 62);
    return subtract_64(_mm256_srlv_epi64(add_64(add_64(product, half), most), right), _mm256_srlv_epi64(most, right));
#endif
  });
}

SPARSENET_INLINE VI multiplied_double(VI x, VI multiplier, VI shift) {
  const VI left = max_vi(shift, VI{}), right = left - shift;
  const VI high = by_halves(x << left, multiplier, VI{},
                            [](Bits product, Bits) { return right_64<31>(add_64(product, splat_64(1 << 30))); });
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

#if defined(__AVX2__)
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
#if defined(__AVX2__)
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
#if defined(__AVX2__)
  if constexpr (kForm == Form::kHighSingle) {
    const Bits right = bits(31 - v.shift), twice = splat_64(2 * r.zero + 1);
    // Half of 2^right, and the zero point times it.
    const auto added = [&](Bits exponent) { return left_64(twice, subtract_64(exponent, splat_64(1))); };
    v.even = vector_of(added(even_lanes(right)));
    v.odd = vector_of(added(right_64<32>(right)));
  }
  if constexpr (kForm == Form::kHighDouble) {
    v.even = v.odd = vector_of(splat_64(1 << 30));
    v.zero = 2 * v.zero + 1;
  }
  if constexpr (kForm == Form::kHighSingle || kForm == Form::kHighDouble) {
    v.odd_multiplier = vector_of(right_64<32>(bits(v.multiplier)));
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
#if defined(__AVX2__)
  if constexpr (kForm == Form::kHighSingle || kForm == Form::kHighDouble) {
    const Bits x = bits(sum);
    const Bits even = add_64(multiply_even(x, bits(r.multiplier)), bits(r.even));
    const Bits odd = add_64(multiply_even(odd_lanes(x), bits(r.odd_multiplier)), bits(r.odd));
    if constexpr (kForm == Form::kHighSingle) return vector_of(merge_upper(even, odd)) >> r.shift;
    const VI high = vector_of(merge_lanes(right_64<31>(even), left_64<1>(odd)));
    // Half of what is negative is rounded down. The last shift takes off one half and the zero point, which is doubled.
    return (((high + (high >> 31)) >> r.shift) + r.zero) >> 1;
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

}  // namespace sparsenet::rt::SPARSENET_ISA

// What becomes of a tile's sums: they are requantised and bounded, a residual may be added, and bytes are stored.
#pragma once

#include "kernels/integer/integer.h"

namespace sparsenet::rt::SPARSENET_ISA {

// The other operand of a sum behind a convolution, QuantParams::residual.
struct Residual {
  const int8_t* from;  // null: there is none
  ptrdiff_t stride;
  Rounding rounding;
  int32_t in_zero, zero, out_zero, left, low, high;
  Multiplier of_in, of_residual, of_sum;
};

struct Finish {
  Requantize requantize;
  Residual residual;
  int8_t* out;
  ptrdiff_t out_stride;
  int32_t outputs;
};

// Whether a convolution's second operand is one that finish_tile() can add.
SPARSENET_INLINE bool residual_supported(const Step& s) {
  return s.in2.segment_count == 0 || (s.in2.segment_count == 1 && !s.in2.segments[0].constant && s.quant->residual &&
                                      s.quant->residual->multiplier_count == 3);
}

inline Finish make_finish(const Step& step, uint8_t* arena, const Requantize& requantize) {
  Finish f{requantize, {}, byte_pointer(step.out, arena), step.out.segments[0].pixel_stride, step.out.c};
  if (step.in2.segment_count == 0) return f;
  const QuantParams& q = *step.quant->residual;
  f.residual = {byte_pointer(step.in2, arena),
                step.in2.segments[0].pixel_stride,
                q.rounding,
                q.in_zero,
                q.in2_zero,
                q.out_zero,
                q.left_shift,
                q.low,
                q.high,
                q.multipliers[0],
                q.multipliers[1],
                q.multipliers[2]};
  return f;
}

// The sum of a bounded result and a residual.
struct Added {
  Factor of_in, of_residual, of_sum;
  VI in_zero, zero, out_zero, low, high;
  int32_t left;
  Rounding rounding;
};

SPARSENET_INLINE Added added_of(const Residual& r) {
  return {factor_of(r.of_in),  factor_of(r.of_residual), factor_of(r.of_sum),
          splat_vi(r.in_zero), splat_vi(r.zero),         splat_vi(r.out_zero),
          splat_vi(r.low),     splat_vi(r.high),         r.left,
          r.rounding};
}

SPARSENET_INLINE VI added(VI v, VI residual, const Added& a) {
  const VI x = by((v - a.in_zero) << a.left, a.of_in, a.rounding);
  const VI y = by((residual - a.zero) << a.left, a.of_residual, a.rounding);
  return min_vi(max_vi(by(x + y, a.of_sum, a.rounding) + a.out_zero, a.low), a.high);
}

#if defined(__AVX2__) && !defined(__AVX512F__)

// A factor of numbers of 9 bits, whose products with a multiplier of 31 bits are made of two halves in 32 bits each:
//     x * multiplier = high * 2^16 + low, shifted right by `right` <= 16, is (high << (16 - right)) + (low >> right).
// kDouble shifts a second time, by `second`.
struct SmallFactor {
  VI high, low, left, right, half;
  VI second, second_half, nudged;  // `nudged`: -1 where the second shift is one, else 0
};

// By how many bits a product is shifted to the right at first, for numbers that are multiplied by 2^left.
SPARSENET_INLINE int32_t first_shift(const Multiplier& m, int32_t left, Rounding rounding) {
  return 31 - left - (rounding == Rounding::kDouble ? 0 : m.shift);
}

SPARSENET_INLINE bool is_small(const Multiplier& m, int32_t left, Rounding rounding) {
  const int32_t right = first_shift(m, left, rounding);
  return m.value < 0x7fff8000 && right >= 1 && right <= 16 && (rounding != Rounding::kDouble || m.shift <= 0);
}

SPARSENET_INLINE SmallFactor small_factor(const Multiplier& m, int32_t left, Rounding rounding) {
  const int32_t right = first_shift(m, left, rounding), high = (m.value + 0x8000) >> 16;
  const int32_t second = rounding == Rounding::kDouble ? -m.shift : 0;
  return {splat_vi(high),
          splat_vi((m.value - high * 0x10000) & 0xffff),
          splat_vi(16 - right),
          splat_vi(right),
          splat_vi(1 << (right - 1)),
          splat_vi(second),
          splat_vi(second > 0 ? 1 << (second - 1) : 0),
          splat_vi(second > 0 ? -1 : 0)};
}

// The numbers are the lower halves of the lanes.
template <Rounding kRounding>
SPARSENET_INLINE VI by_small(__m256i x, const SmallFactor& f) {
  const auto high = reinterpret_cast<VI>(_mm256_madd_epi16(x, reinterpret_cast<__m256i>(f.high)));
  const auto low = reinterpret_cast<VI>(_mm256_madd_epi16(x, reinterpret_cast<__m256i>(f.low)));
  const VI y = (high << f.left) + ((low + f.half) >> f.right);
  if constexpr (kRounding == Rounding::kSingle) return y;
  return (y + ((y >> 31) & f.nudged) + f.second_half) >> f.second;
}

// The same sum as Added, by way of SmallFactor and the forms that take upper halves.
template <Rounding kRounding>
struct AddedFast {
  static constexpr Form kForm = kRounding == Rounding::kDouble ? Form::kHighDouble : Form::kHighSingle;
  SmallFactor of_in, of_residual;
  RequantizeVector of_sum;
  __m256i in_zero, zero, low, high;
};

SPARSENET_INLINE bool is_fast(const Residual& r) {
  return is_small(r.of_in, r.left, r.rounding) && is_small(r.of_residual, r.left, r.rounding) && r.of_sum.value != 0 &&
         is_high(r.of_sum, r.rounding);
}

template <Rounding kRounding>
SPARSENET_INLINE AddedFast<kRounding> added_fast_of(const Residual& r) {
  constexpr Form kForm = AddedFast<kRounding>::kForm;
  return {small_factor(r.of_in, r.left, kRounding),        small_factor(r.of_residual, r.left, kRounding),
          splat_requantize<kForm>(r.of_sum, r.out_zero),   _mm256_set1_epi16(static_cast<int16_t>(r.in_zero)),
          _mm256_set1_epi16(static_cast<int16_t>(r.zero)), _mm256_set1_epi16(static_cast<int16_t>(r.low)),
          _mm256_set1_epi16(static_cast<int16_t>(r.high))};
}

SPARSENET_INLINE VI first_vector(__m256i words) {
  return reinterpret_cast<VI>(_mm256_srai_epi32(_mm256_unpacklo_epi16(words, words), 16));
}
SPARSENET_INLINE VI second_vector(__m256i words) {
  return reinterpret_cast<VI>(_mm256_srai_epi32(_mm256_unpackhi_epi16(words, words), 16));
}

SPARSENET_INLINE __m256i added_words(__m256i v, __m256i residual, const Added& a) {
  return words_of(added(first_vector(v), first_vector(residual), a),
                  added(second_vector(v), second_vector(residual), a));
}

template <Rounding kRounding>
SPARSENET_INLINE __m256i added_words(__m256i v, __m256i residual, const AddedFast<kRounding>& a) {
  constexpr Form kForm = AddedFast<kRounding>::kForm;
  const __m256i x = _mm256_sub_epi16(v, a.in_zero), y = _mm256_sub_epi16(residual, a.zero);
  const VI first = by_small<kRounding>(_mm256_unpacklo_epi16(x, x), a.of_in) +
                   by_small<kRounding>(_mm256_unpacklo_epi16(y, y), a.of_residual);
  const VI second = by_small<kRounding>(_mm256_unpackhi_epi16(x, x), a.of_in) +
                    by_small<kRounding>(_mm256_unpackhi_epi16(y, y), a.of_residual);
  return bounded_words(words_of(unbounded<kForm>(first, a.of_sum), unbounded<kForm>(second, a.of_sum)), a.low, a.high);
}

struct NotAdded {};
SPARSENET_INLINE __m256i added_words(__m256i v, __m256i, const NotAdded&) {
  return v;
}

// kAdds: with `add`. Four vectors at a time: those of two pixels or of four. (There is room for that behind the sums.)
template <Form kForm, int B, bool kAdds, class Add>
__attribute__((noinline)) void finish(const Finish& f, const Add& add, const int32_t* sums, int count, int first,
                                      int64_t pixel) {
  constexpr int kPixels = 4 / B;
  RequantizeVector r[B];
#pragma GCC unroll 2
  for (int b = 0; b < B; ++b) r[b] = load_requantize<kForm>(f.requantize, first + b * kLanes);
  const __m256i low = _mm256_set1_epi16(static_cast<int16_t>(f.requantize.low)),
                high = _mm256_set1_epi16(static_cast<int16_t>(f.requantize.high));
  const int last = imin(f.outputs - first - (B - 1) * kLanes, kLanes);  // bytes of the last vector of a pixel
  int8_t* y = f.out + pixel * f.out_stride + first;
  const int8_t* from = kAdds ? f.residual.from + pixel * f.residual.stride + first : nullptr;
  for (int p = 0; p < count; p += kPixels, sums += 4 * kLanes) {
    const int pixels = imin(kPixels, count - p);
    __m256i words[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      words[i] = bounded_words(words_of(unbounded<kForm>(load_vi(sums + 2 * i * kLanes), r[0]),
                                        unbounded<kForm>(load_vi(sums + (2 * i + 1) * kLanes), r[B - 1])),
                               low, high);
      if constexpr (kAdds) {
        __m128i bytes[2];
#pragma GCC unroll 2
        for (int h = 0; h < 2; ++h) {
          const int q = (2 * i + h) / B;
          const int8_t* at = from + q * f.residual.stride + (B == 2 ? h * kLanes : 0);
          bytes[h] = q < pixels ? _mm_cvtsi64_si128(static_cast<int64_t>(load_some(at, h == B - 2 ? kLanes : last)))
                                : __m128i{};
        }
        words[i] = added_words(words[i], _mm256_cvtepi8_epi16(_mm_unpacklo_epi32(bytes[0], bytes[1])), add);
      }
    }
    const __m256i bytes = bytes_of(words[0], words[1]);
    const __m128i halves[2] = {_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)};
#pragma GCC unroll 4
    for (int q = 0; q < kPixels; ++q, y += f.out_stride) {
      if (q >= pixels) break;
      const __m128i half = halves[q * B / 2];
      if constexpr (B == 2) {
        if (last == kLanes) {
          _mm_storeu_si128(reinterpret_cast<__m128i*>(y), half);
        } else {
          _mm_storel_epi64(reinterpret_cast<__m128i*>(y), half);
          store_some(y + kLanes, static_cast<uint64_t>(_mm_extract_epi64(half, 1)), last);
        }
      } else {
        const int64_t eight = q % 2 == 0 ? _mm_cvtsi128_si64(half) : _mm_extract_epi64(half, 1);
        store_some(y, static_cast<uint64_t>(eight), last);
      }
    }
    if constexpr (kAdds) from += kPixels * f.residual.stride;
  }
}

template <Form kForm, int B>
SPARSENET_INLINE void finish_as(const Finish& f, const int32_t* sums, int count, int first, int64_t pixel) {
  if (!f.residual.from) {
    finish<kForm, B, false>(f, NotAdded{}, sums, count, first, pixel);
    return;
  }
  // (A network has one rounding.)
  constexpr Rounding kRounding = kForm == Form::kHighDouble ? Rounding::kDouble : Rounding::kSingle;
  if constexpr (kForm == Form::kHighDouble || kForm == Form::kHighSingle) {
    if (f.residual.rounding == kRounding && is_fast(f.residual)) {
      return finish<kForm, B, true>(f, added_fast_of<kRounding>(f.residual), sums, count, first, pixel);
    }
  }
  finish<kForm, B, true>(f, added_of(f.residual), sums, count, first, pixel);
}

#else

template <Form kForm, int B>
void finish_as(const Finish& f, const int32_t* sums, int count, int first_output, int64_t pixel) {
  const Added add = added_of(f.residual);
  for (int b = 0; b < B; ++b) {
    const int first = first_output + b * kLanes, lanes = imin(kLanes, f.outputs - first);
    const RequantizeVector r = load_requantize<kForm>(f.requantize, first);
    int8_t* y = f.out + pixel * f.out_stride + first;
    const int8_t* from = f.residual.from ? f.residual.from + pixel * f.residual.stride + first : nullptr;
    for (int p = 0; p < count; ++p, y += f.out_stride) {
      VI v = requantized<kForm>(load_vi(sums + (p * B + b) * kLanes), r);
      if (from) v = added(v, load_bytes(from + p * f.residual.stride, lanes), add);
      store_bytes(y, v, lanes);
    }
  }
}

#endif

// `sums`: [count][blocks][kLanes], of the outputs from `first` on, for the pixels from `pixel` on.
SPARSENET_INLINE void finish_tile(const Finish& f, const int32_t* sums, int count, int blocks, int first,
                                  int64_t pixel) {
  by_form(f.requantize, [&](auto form) {
    constexpr Form kForm = decltype(form)::value;
    blocks == 2 ? finish_as<kForm, 2>(f, sums, count, first, pixel) : finish_as<kForm, 1>(f, sums, count, first, pixel);
  });
}

}  // namespace sparsenet::rt::SPARSENET_ISA

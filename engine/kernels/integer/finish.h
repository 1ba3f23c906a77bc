// What becomes of a tile's sums: they are requantised and bounded, a residual may be added, and bytes are stored.
#pragma once

#include "kernels/integer/integer.h"
#include "kernels/integer/residual.h"

namespace sparsenet::rt::SPARSENET_ISA {

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
                q.multipliers[2],
                0,
                0,
                0,
                0};
  find_pairs(&f.residual);
  return f;
}

#if defined(__AVX2__)

struct NotAdded {};
SPARSENET_INLINE Bits added_words(Bits v, Bits, const NotAdded&) {
  return v;
}

// The first `count` bytes of a vector of outputs.
SPARSENET_INLINE __m128i load_vector(const int8_t* from, int count) {
#if defined(__AVX512F__)
  return _mm_maskz_loadu_epi8(static_cast<__mmask16>((1u << count) - 1u), from);
#else
  return _mm_cvtsi64_si128(static_cast<int64_t>(load_some(from, count)));
#endif
}

// The bytes of two vectors in the order of words_of().
SPARSENET_INLINE Bits as_words(__m128i a, __m128i b) {
#if defined(__AVX512F__)
  const __m256i first = _mm256_castsi128_si256(_mm_unpacklo_epi32(a, b));
  return _mm512_cvtepi8_epi16(_mm256_inserti128_si256(first, _mm_unpackhi_epi32(a, b), 1));
#else
  return _mm256_cvtepi8_epi16(_mm_unpacklo_epi32(a, b));
#endif
}

// Stores the bytes of four vectors, those of `pixels` pixels at most: B vectors each, of the last one `last` bytes.
template <int B>
SPARSENET_INLINE void store_pixels(int8_t* y, ptrdiff_t stride, int pixels, Bits bytes, int last) {
#if defined(__AVX512F__)
  if constexpr (B == 2) {
    const __mmask32 mask = 0xffffffffu >> (kLanes - last);
    const auto store = [&](int8_t* to, __m256i half) {
      last == kLanes ? _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), half)
                     : _mm256_mask_storeu_epi8(to, mask, half);
    };
    store(y, _mm512_castsi512_si256(bytes));
    if (pixels > 1) store(y + stride, _mm512_extracti64x4_epi64(bytes, 1));
  } else {
    const auto mask = static_cast<__mmask16>(0xffffu >> (kLanes - last));
    const auto store = [&](int8_t* to, __m128i quarter) {
      last == kLanes ? _mm_storeu_si128(reinterpret_cast<__m128i*>(to), quarter)
                     : _mm_mask_storeu_epi8(to, mask, quarter);
    };
    store(y, _mm512_castsi512_si128(bytes));
    if (pixels > 1) store(y + stride, _mm512_extracti32x4_epi32(bytes, 1));
    if (pixels > 2) store(y + 2 * stride, _mm512_extracti32x4_epi32(bytes, 2));
    if (pixels > 3) store(y + 3 * stride, _mm512_extracti32x4_epi32(bytes, 3));
  }
#else
  const __m128i halves[2] = {_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)};
#pragma GCC unroll 4
  for (int q = 0; q < 4 / B; ++q, y += stride) {
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
#endif
}

// kAdds: with `add`, which may leave sums out of bounds. Four vectors at a time: those of two pixels or of four. (There
// is room for that behind the sums.)
template <Form kForm, int B, bool kAdds, class Add>
__attribute__((noinline)) void finish(const Finish& f, const Add& add, const int32_t* sums, int count, int first,
                                      int64_t pixel) {
  constexpr int kPixels = 4 / B;
  RequantizeVector r[B];
#pragma GCC unroll 2
  for (int b = 0; b < B; ++b) r[b] = load_requantize<kForm>(f.requantize, first + b * kLanes);
  const Bits low = splat_16(f.requantize.low), high = splat_16(f.requantize.high);
  const Bits low_byte = splat_8(kAdds ? f.residual.low : f.requantize.low),
             high_byte = splat_8(kAdds ? f.residual.high : f.requantize.high);
  const int last = imin(f.outputs - first - (B - 1) * kLanes, kLanes);  // bytes of the last vector of a pixel
  int8_t* y = f.out + pixel * f.out_stride + first;
  const int8_t* from = kAdds ? f.residual.from + pixel * f.residual.stride + first : nullptr;
  for (int p = 0; p < count; p += kPixels, sums += 4 * kLanes) {
    const int pixels = imin(kPixels, count - p);
    Bits words[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      words[i] = words_of(unbounded<kForm>(load_vi(sums + 2 * i * kLanes), r[0]),
                          unbounded<kForm>(load_vi(sums + (2 * i + 1) * kLanes), r[B - 1]));
      if constexpr (kAdds) {
        __m128i bytes[2];
#pragma GCC unroll 2
        for (int h = 0; h < 2; ++h) {
          const int q = (2 * i + h) / B;
          const int8_t* at = from + q * f.residual.stride + (B == 2 ? h * kLanes : 0);
          bytes[h] = q < pixels ? load_vector(at, h == B - 2 ? kLanes : last) : __m128i{};
        }
        words[i] = added_words(bounded_16(words[i], low, high), as_words(bytes[0], bytes[1]), add);
      }
    }
    const Bits bytes = bounded_8(bytes_of(words[0], words[1]), low_byte, high_byte);
    store_pixels<B>(y, f.out_stride, pixels, bytes, last);
    y += kPixels * f.out_stride;
    if constexpr (kAdds) from += kPixels * f.residual.stride;
  }
}

template <Form kForm, int B>
SPARSENET_INLINE void finish_as(const Finish& f, const int32_t* sums, int count, int first, int64_t pixel) {
  if (!f.residual.from) {
    finish<kForm, B, false>(f, NotAdded{}, sums, count, first, pixel);
    return;
  }
  if (f.residual.pair_shift > 0) {
    return finish<kForm, B, true>(f, added_pairs_of(f.residual), sums, count, first, pixel);
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

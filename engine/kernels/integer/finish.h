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
                requantize.low,
                requantize.high,
                q.in_zero,
                q.in2_zero,
                q.out_zero,
                q.left_shift,
                q.low,
                q.high,
                q.multipliers[0],
                q.multipliers[1],
                q.multipliers[2],
                false,
                0,
                0,
                0};
  find_factors(&f.residual);
  return f;
}

#if defined(__AVX2__)

struct NotAdded {};
SPARSENET_INLINE VI added(VI v, VI, const NotAdded&) {
  return v;
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

// What the sums of B vectors of outputs become bytes with. kAdds: with `add`, which may leave sums out of bounds.
template <Form kForm, int B, bool kAdds, class Add>
struct Finisher {
  RequantizeVector r[B];
  Bits low, high;
  Add add;

  SPARSENET_INLINE Finisher(const Finish& f, const Add& of_residual, int first) : add(of_residual) {
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) r[b] = load_requantize<kForm>(f.requantize, first + b * kLanes);
    low = splat_8(kAdds ? f.residual.low : f.requantize.low);
    high = splat_8(kAdds ? f.residual.high : f.requantize.high);
  }

  // The bytes of four vectors of sums, those of two pixels or of four; residual(i) is what is added to vector i.
  template <class F>
  SPARSENET_INLINE Bits bytes(const int32_t* sums, F residual) const {
    VI v[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) v[i] = unbounded<kForm>(load_vi(sums + i * kLanes), r[i % B]);
    if constexpr (kAdds) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) v[i] = added(v[i], residual(i), add);
    }
    return bounded_8(bytes_of(words_of(v[0], v[1]), words_of(v[2], v[3])), low, high);
  }
};

// Four vectors at a time: there is room for that behind the sums.
template <Form kForm, int B, bool kAdds, class Add>
__attribute__((noinline)) void finish(const Finish& f, const Add& add, const int32_t* sums, int count, int first,
                                      int64_t pixel) {
  constexpr int kPixels = 4 / B;
  const Finisher<kForm, B, kAdds, Add> finisher(f, add, first);
  const int last = imin(f.outputs - first - (B - 1) * kLanes, kLanes);  // bytes of the last vector of a pixel
  int8_t* y = f.out + pixel * f.out_stride + first;
  const int8_t* from = kAdds ? f.residual.from + pixel * f.residual.stride + first : nullptr;
  for (int p = 0; p < count; p += kPixels, sums += 4 * kLanes) {
    const int pixels = imin(kPixels, count - p);
    const Bits bytes = finisher.bytes(sums, [&](int i) {
      if (i / B >= pixels) return VI{};
      return load_bytes(from + i / B * f.residual.stride + i % B * kLanes, i % B == B - 1 ? last : kLanes);
    });
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
  if (f.residual.has_factors) {
    return finish<kForm, B, true>(f, added_reals_of(f.residual), sums, count, first, pixel);
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

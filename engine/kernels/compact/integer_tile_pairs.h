// Patches of 16-bit numbers, for processors without vectors. A patch holds x - zero point, in groups of four numbers,
// because `sxtb16` makes two pairs of a word of four weights: the first and the third, and the second and the fourth.
// So it is [group][pair][pixel][2]:
//     number k of pixel p at k / 4 * 4 * P + k % 2 * 2 * P + p * 2 + k % 4 / 2
// What is beyond the last number, to the end of its group, is zero.
#pragma once

#include "kernels/compact/integer_tile.h"

namespace sparsenet::rt::compact {

using PatchNumber = int16_t;
constexpr int32_t kGroup = 4, kTilePixels = 4;
constexpr bool kStoresFewer = false;
constexpr bool kAdjustsBiases = false;

inline const int32_t* adjusted_biases(const int8_t*, const int32_t* bias, int32_t, int32_t, int32_t, int32_t*) {
  return bias;
}

template <int32_t P>
constexpr int64_t patch_numbers(int64_t count) {
  return (count + 3) / 4 * 4 * P;
}

template <int32_t P>
constexpr int32_t patch_index(int32_t k) {
  return (k >> 2) * 4 * P + (k & 1) * 2 * P + ((k >> 1) & 1);
}

template <int32_t P>
constexpr int64_t pixel_offset(int64_t, int32_t p) {
  return 2 * p;
}

template <int32_t P>
inline void clear_rest(PatchNumber* patch, int32_t count) {
  memset(patch + patch_numbers<P>(count) - 4 * P, 0, 4 * P * sizeof(PatchNumber));
}

inline void copy_numbers(const int8_t* from, int32_t count, int8_t* to) {
  memcpy(to, from, static_cast<size_t>(count));
}
inline void fill_numbers(int32_t number, int32_t count, int8_t* to) {
  memset(to, number, static_cast<size_t>(count));
}

#if defined(SPARSENET_ARM_DSP)

// Bytes 0 and 2 of a word, or bytes 1 and 3, as two numbers of 16 bits, added to those of `sum`.
inline uint32_t add_even(uint32_t sum, uint32_t word) {
  uint32_t result;
  asm("sxtab16 %0, %1, %2" : "=r"(result) : "r"(sum), "r"(word));
  return result;
}
inline uint32_t add_odd(uint32_t sum, uint32_t word) {
  uint32_t result;
  asm("sxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(sum), "r"(word));
  return result;
}
inline uint32_t load_word(const void* at) {
  uint32_t word;
  memcpy(&word, at, sizeof word);
  return word;
}
// Two numbers of 16 bits, -zero.
inline uint32_t negated_pair(int32_t zero) {
  return (static_cast<uint32_t>(-zero) & 0xffff) * 0x10001u;
}

// Gathers what the window of one pixel reads; `patch` is where its number 0 goes.
template <int32_t P>
__attribute__((noinline)) void gather_any(const WindowRows& w, int32_t kernel_h, int32_t kernel_w, int32_t channels,
                                          int32_t zero, PatchNumber* patch) {
  const uint32_t minus = negated_pair(zero);
  auto* to = reinterpret_cast<uint32_t*>(patch);
  uint32_t word = 0;  // of four bytes, the first one in its lowest bits; the last ones may be missing
  int32_t left = 4;
  for (int32_t c = 0; c < channels; ++c) {
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
      const int8_t* x = w.rows[ky] + w.offset + c;
      for (int32_t kx = kernel_w; kx > 0; --kx, x += w.column) {
        word = word >> 8 | static_cast<uint32_t>(static_cast<uint8_t>(*x)) << 24;
        if (--left > 0) continue;
        left = 4;
        to[0] = add_even(minus, word);
        to[P] = add_odd(minus, word);
        to += 2 * P;
      }
    }
  }
  if (left == 4) return;
  // What is beyond the last number stays as it is: zero.
  const int32_t count = 4 - left;
  word >>= 8 * left;
  const uint32_t even = add_even(minus, word), odd = add_odd(minus, word);
  auto* numbers = reinterpret_cast<PatchNumber*>(to);
  numbers[0] = static_cast<PatchNumber>(even);
  if (count > 1) numbers[2 * P] = static_cast<PatchNumber>(odd);
  if (count > 2) numbers[1] = static_cast<PatchNumber>(even >> 16);
}

template <int32_t P>
__attribute__((noinline)) void gather_1x1(const WindowRows& w, int32_t channels, int32_t zero, PatchNumber* patch) {
  const int8_t* x = w.rows[0] + w.offset;
  auto* to = reinterpret_cast<uint32_t*>(patch);
  const uint32_t minus = negated_pair(zero);
  for (int32_t c = channels; c > 0; c -= 4, x += 4, to += 2 * P) {
    const uint32_t word = load_word(x);
    to[0] = add_even(minus, word);
    to[P] = add_odd(minus, word);
  }
}

// A 3x3 window; `channels` is a multiple of 4.
//
// Of four channels, the 36 numbers are 18 words. Tap after tap, a word of four channels makes a pair of the first and
// the third channel (even) and one of the others (odd). All words but four are of one channel and of taps t - 2 and t,
// so the last three pairs are all that has to be remembered; the four between two channels are stored half by half.
template <int32_t P>
__attribute__((noinline)) void gather_3x3(const WindowRows& w, int32_t channels, int32_t zero, PatchNumber* patch) {
  const int8_t *x0 = w.rows[0] + w.offset, *x1 = w.rows[1] + w.offset, *x2 = w.rows[2] + w.offset;
  const int8_t* const end = x0 + channels;
  const ptrdiff_t column = w.column;
  const uint32_t minus = negated_pair(zero);
  uint32_t *to = reinterpret_cast<uint32_t*>(patch), word, e0, e1, e2, o0, o1, o2;
// The tap at [row, column * n], into the pairs e and o.
#define SPARSENET_TAP(row, at, e, o)                                                        \
  "ldr %[word], [%[" #row "]" at "]\n sxtab16 %[" #e "], %[minus], %[word]\n sxtab16 %[" #o \
  "], %[minus], %[word], ror #8\n"
// Word n is of the lower halves of a and b, or of the upper ones.
#define SPARSENET_LOWER(a, b, n) \
  "pkhbt %[word], %[" #a "], %[" #b "], lsl #16\n str %[word], [%[to], #(" #n "*%c[p])]\n"
#define SPARSENET_UPPER(a, b, n) \
  "pkhtb %[word], %[" #b "], %[" #a "], asr #16\n str %[word], [%[to], #(" #n "*%c[p])]\n"
// Both halves of word n, its lower one, its upper one, of a lower half.
#define SPARSENET_WHOLE(a, n) "str %[" #a "], [%[to], #(" #n "*%c[p])]\n"
#define SPARSENET_INTO_LOWER(a, n) "strh %[" #a "], [%[to], #(" #n "*%c[p])]\n"
#define SPARSENET_INTO_UPPER(a, n) "strh %[" #a "], [%[to], #(" #n "*%c[p]+2)]\n"
  do {
    // Words are numbered as they lie: 2 * group + pair. Numbers of the first channel are 0 to 8, and so on.
    asm volatile(
        SPARSENET_TAP(x0, "", e0, o0)                       // tap 0
        SPARSENET_WHOLE(e0, 8) SPARSENET_WHOLE(o0, 13)      // numbers 18 and 27 are their upper halves
        SPARSENET_TAP(x0, ", %[column]", e1, o1)            // tap 1
        SPARSENET_WHOLE(e1, 9) SPARSENET_INTO_UPPER(o1, 4)  // 19; 10
        SPARSENET_TAP(x0, ", %[column], lsl #1", e2, o2)    // tap 2
        SPARSENET_LOWER(e0, e2, 0) SPARSENET_LOWER(o0, o2, 5) SPARSENET_TAP(x1, "", e0, o0)              // tap 3
        SPARSENET_LOWER(e1, e0, 1) SPARSENET_UPPER(o1, o0, 14) SPARSENET_TAP(x1, ", %[column]", e1, o1)  // tap 4
        SPARSENET_UPPER(e2, e1, 10) SPARSENET_UPPER(o2, o1, 15)
            SPARSENET_TAP(x1, ", %[column], lsl #1", e2, o2)                                            // tap 5
        SPARSENET_UPPER(e0, e2, 11) SPARSENET_LOWER(o0, o2, 6) SPARSENET_TAP(x2, "", e0, o0)            // tap 6
        SPARSENET_LOWER(e1, e0, 2) SPARSENET_LOWER(o1, o0, 7) SPARSENET_TAP(x2, ", %[column]", e1, o1)  // tap 7
        SPARSENET_LOWER(e2, e1, 3) SPARSENET_UPPER(o2, o1, 16) SPARSENET_INTO_LOWER(o1, 8)              // 16
        "lsr %[word], %[e1], #16\n" SPARSENET_INTO_LOWER(word, 13)                                      // 25
        SPARSENET_TAP(x2, ", %[column], lsl #1", e2, o2)                                                // tap 8
        SPARSENET_UPPER(e0, e2, 12) SPARSENET_UPPER(o0, o2, 17) SPARSENET_INTO_LOWER(e2, 4)
            SPARSENET_INTO_LOWER(o2, 9)  // 8; 17
        : [word] "=&r"(word), [e0] "=&r"(e0), [e1] "=&r"(e1), [e2] "=&r"(e2), [o0] "=&r"(o0), [o1] "=&r"(o1),
          [o2] "=&r"(o2)
        :
        [x0] "r"(x0), [x1] "r"(x1), [x2] "r"(x2), [column] "r"(column), [minus] "r"(minus), [to] "r"(to), [p] "i"(4 * P)
        : "memory");
    x0 += 4, x1 += 4, x2 += 4;
    to += 18 * P;
  } while (x0 != end);
#undef SPARSENET_INTO_UPPER
#undef SPARSENET_INTO_LOWER
#undef SPARSENET_WHOLE
#undef SPARSENET_UPPER
#undef SPARSENET_LOWER
#undef SPARSENET_TAP
}

// Adds the products of `groups` groups of four weights, which may begin at any byte, with the patch of four pixels to
// their sums. Leaves `weight` behind the groups. 13 instructions for 16 multiply-accumulates.
[[gnu::always_inline]] inline void multiply_4(const int8_t*& weight, const PatchNumber* patch, int32_t groups,
                                              int32_t& a0, int32_t& a1, int32_t& a2, int32_t& a3) {
#define SPARSENET_GROUP                                                                               \
  "ldr %[w], [%[v]], #4\n ldmia %[x]!, {r4-r6, r8}\n sxtb16 %[t], %[w]\n sxtb16 %[w], %[w], ror #8\n" \
  "smlad %[a0], r4, %[t], %[a0]\n smlad %[a1], r5, %[t], %[a1]\n smlad %[a2], r6, %[t], %[a2]\n"      \
  "smlad %[a3], r8, %[t], %[a3]\n ldmia %[x]!, {r4-r6, r8}\n smlad %[a0], r4, %[w], %[a0]\n"          \
  "smlad %[a1], r5, %[w], %[a1]\n smlad %[a2], r6, %[w], %[a2]\n smlad %[a3], r8, %[w], %[a3]\n"
#define SPARSENET_LOOP(groups)                                                                                     \
  asm volatile("1:\n" groups "subs %[n], #1\n bne 1b\n"                                                            \
               : [v] "+r"(weight), [x] "+r"(patch), [n] "+r"(rounds), [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), \
                 [a3] "+r"(a3), [w] "=&r"(w), [t] "=&r"(t)                                                         \
               :                                                                                                   \
               : "r4", "r5", "r6", "r8", "cc", "memory")
  uint32_t w, t;
  int32_t rounds = groups >> 2;
  if (rounds > 0) SPARSENET_LOOP(SPARSENET_GROUP SPARSENET_GROUP SPARSENET_GROUP SPARSENET_GROUP);
  rounds = groups & 3;
  if (rounds > 0) SPARSENET_LOOP(SPARSENET_GROUP);
#undef SPARSENET_LOOP
#undef SPARSENET_GROUP
}

// The same for one pixel: 6 instructions for 4.
[[gnu::always_inline]] inline void multiply_1(const int8_t*& weight, const PatchNumber* patch, int32_t groups,
                                              int32_t& a0) {
#define SPARSENET_GROUP                                                                            \
  "ldr %[w], [%[v]], #4\n ldmia %[x]!, {r4, r5}\n sxtb16 %[t], %[w]\n sxtb16 %[w], %[w], ror #8\n" \
  "smlad %[a0], r4, %[t], %[a0]\n smlad %[a0], r5, %[w], %[a0]\n"
  uint32_t w, t;
  int32_t rounds = groups;
  if (rounds == 0) return;
  asm volatile("1:\n" SPARSENET_GROUP "subs %[n], #1\n bne 1b\n"
               : [v] "+r"(weight), [x] "+r"(patch), [n] "+r"(rounds), [a0] "+r"(a0), [w] "=&r"(w), [t] "=&r"(t)
               :
               : "r4", "r5", "cc", "memory");
#undef SPARSENET_GROUP
}

#else

// Gathers what the window of one pixel reads; `patch` is where its number 0 goes.
template <int32_t P>
__attribute__((noinline)) void gather_any(const WindowRows& w, int32_t kernel_h, int32_t kernel_w, int32_t channels,
                                          int32_t zero, PatchNumber* patch) {
  const int32_t taps = kernel_h * kernel_w;
  for (int32_t ky = 0, tap = 0; ky < kernel_h; ++ky) {
    const int8_t* x = w.rows[ky] + w.offset;
    for (int32_t kx = 0; kx < kernel_w; ++kx, ++tap, x += w.column) {
      for (int32_t c = 0, k = tap; c < channels; ++c, k += taps) {
        patch[patch_index<P>(k)] = static_cast<PatchNumber>(x[c] - zero);
      }
    }
  }
}

template <int32_t P>
inline void multiply_groups(const int8_t* weight, const PatchNumber* patch, int32_t groups, int32_t* sums) {
  uint32_t a[P];  // modulo 2^32, as the plain kernels
  for (int32_t p = 0; p < P; ++p) a[p] = static_cast<uint32_t>(sums[p]);
  for (; groups > 0; --groups, weight += 4, patch += 4 * P) {
    const int32_t w0 = weight[0], w1 = weight[1], w2 = weight[2], w3 = weight[3];
#pragma GCC unroll 4
    for (int32_t p = 0; p < P; ++p) {
      a[p] += static_cast<uint32_t>(w0 * patch[2 * p] + w2 * patch[2 * p + 1]) +
              static_cast<uint32_t>(w1 * patch[2 * (P + p)] + w3 * patch[2 * (P + p) + 1]);
    }
  }
  for (int32_t p = 0; p < P; ++p) sums[p] = static_cast<int32_t>(a[p]);
}
inline void multiply_4(const int8_t*& weight, const PatchNumber* patch, int32_t groups, int32_t& a0, int32_t& a1,
                       int32_t& a2, int32_t& a3) {
  int32_t sums[4] = {a0, a1, a2, a3};
  multiply_groups<4>(weight, patch, groups, sums);
  weight += 4 * groups;
  a0 = sums[0], a1 = sums[1], a2 = sums[2], a3 = sums[3];
}
inline void multiply_1(const int8_t*& weight, const PatchNumber* patch, int32_t groups, int32_t& a0) {
  multiply_groups<1>(weight, patch, groups, &a0);
  weight += 4 * groups;
}

#endif

template <int32_t P>
[[gnu::always_inline]] inline void gather_window(const WindowRows& w, int32_t kernel_h, int32_t kernel_w,
                                                 int32_t channels, int32_t zero, PatchNumber* patch) {
#if defined(SPARSENET_ARM_DSP)
  if constexpr (P > 1) {  // one pixel is gathered but once
    if (channels % 4 == 0 && kernel_h == 1 && kernel_w == 1) return gather_1x1<P>(w, channels, zero, patch);
    if (channels % 4 == 0 && kernel_h == 3 && kernel_w == 3) return gather_3x3<P>(w, channels, zero, patch);
  }
#endif
  gather_any<P>(w, kernel_h, kernel_w, channels, zero, patch);
}

// Adds the products of the weights from `k` on, at most three, with the patch to the sums of its pixels.
template <int32_t P>
__attribute__((noinline)) void multiply_rest(const int8_t* weight, const PatchNumber* patch, int32_t k, int32_t count,
                                             int32_t* sums) {
  for (; k < count; ++k) {
    for (int32_t p = 0; p < P; ++p) sums[p] = wrapped_sum(sums[p], weight[k] * patch[patch_index<P>(k) + 2 * p]);
  }
}

template <int32_t P>
[[gnu::always_inline]] inline void multiply(const int8_t* weight, const PatchNumber* patch, int32_t groups,
                                            int32_t* sums) {
  if constexpr (P == 4) {
    multiply_4(weight, patch, groups, sums[0], sums[1], sums[2], sums[3]);
  } else {
    multiply_1(weight, patch, groups, sums[0]);
  }
}

template <Rounding kRounding>
[[gnu::always_inline]] inline int8_t byte_of(int32_t sum, const Factor& f, int32_t zero) {
  return static_cast<int8_t>(saturated_byte(fast_product<kRounding>(sum, f) + zero));
}

// Up to the last output, or the one before it if there are no whole groups of weights: in the last group, the weights
// of the next output meet zeros, and behind the last output there are none to be read. Returns how many outputs that
// is.
template <Rounding kRounding>
__attribute__((noinline)) int32_t run_straight(const Tile& t, const PatchNumber* patch) {
  const int32_t groups = (t.count + kGroup - 1) / kGroup, beyond = groups * kGroup - t.count, zero = t.zero;
  const int32_t outputs = beyond > 0 ? t.outputs - 1 : t.outputs;
  const ptrdiff_t stride = t.stride;
  const int8_t* weight = t.weight;
  const int32_t* bias = t.biases;
  int8_t* out = t.out;
  const Multiplier *m = t.multipliers, *const end = m + outputs;
  for (; m != end; ++m, ++out) {
    int32_t a0 = *bias++, a1 = a0, a2 = a0, a3 = a0;
    multiply_4(weight, patch, groups, a0, a1, a2, a3);
    weight -= beyond;
    const Factor f = fast_factor<kRounding>(*m);
    int8_t* to = out;
    *to = byte_of<kRounding>(a0, f, zero), to += stride;
    *to = byte_of<kRounding>(a1, f, zero), to += stride;
    *to = byte_of<kRounding>(a2, f, zero), to += stride;
    *to = byte_of<kRounding>(a3, f, zero);
  }
  return outputs;
}

// out[i] = first[x[i]] + second[y[i]], as integers, for outputs without bounds.
template <Rounding kRounding>
inline void add_entries(const int32_t* first, const int32_t* second, const uint8_t* x, const uint8_t* y, int32_t count,
                        const Factor& f, int32_t zero, int8_t* out) {
  for (const uint8_t* const end = x + count; x != end; ++out) {
    *out = byte_of<kRounding>(first[*x++] + second[*y++], f, zero);
  }
}

}  // namespace sparsenet::rt::compact

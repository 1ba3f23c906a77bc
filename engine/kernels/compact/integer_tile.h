// The inner loops of integer_conv.cpp: what the windows of P neighbouring output pixels read, gathered as a patch, and
// its products with the weights of an output.
//
// Numbers are in the order of the weights of an output, [channel][row][column], which are used where they lie. A patch
// holds x - zero point in 16 bits, in groups of four numbers, because `sxtb16` makes two pairs of a word of four
// weights: the first and the third, and the second and the fourth. So it is [group][pair][pixel][2]:
//     number k of pixel p at k / 4 * 4 * P + k % 2 * 2 * P + p * 2 + k % 4 / 2
// What is beyond the last number is undefined.
#pragma once

#include <utility>

#include "kernels/compact/integer.h"

namespace sparsenet::rt::compact {

using PatchNumber = int16_t;

template <int32_t P>
constexpr int64_t patch_numbers(int64_t count) {
  return (count + 3) / 4 * 4 * P;
}

template <int32_t P>
constexpr int32_t patch_index(int32_t k) {
  return (k >> 2) * 4 * P + (k & 1) * 2 * P + ((k >> 1) & 1);
}

// Where a window lies: the pixel of its first row and column, for each row, and from there to the next column.
struct WindowRows {
  const int8_t* const* rows;
  ptrdiff_t offset, column;
};

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
// The lower half of one and the upper one of another are made of halves of these.
template <bool kUpperOfA, bool kUpperOfB>
inline uint32_t pack(uint32_t a, uint32_t b) {
  uint32_t result;
  if constexpr (!kUpperOfA && !kUpperOfB) asm("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(a), "r"(b));
  if constexpr (!kUpperOfA && kUpperOfB) asm("pkhbt %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
  if constexpr (kUpperOfA && kUpperOfB) asm("pkhtb %0, %2, %1, asr #16" : "=r"(result) : "r"(a), "r"(b));
  static_assert(!(kUpperOfA && !kUpperOfB), "no instruction does it alone");
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

template <int32_t P>
__attribute__((noinline, optimize("O2"))) void gather_1x1(const WindowRows& w, int32_t channels, int32_t zero,
                                                          PatchNumber* patch) {
  const int8_t* x = w.rows[0] + w.offset;
  auto* to = reinterpret_cast<uint32_t*>(patch);
  const uint32_t minus = negated_pair(zero);
  for (int32_t c = channels; c > 0; c -= 4, x += 4, to += 2 * P) {
    const uint32_t word = load_word(x);
    to[0] = add_even(minus, word);
    to[P] = add_odd(minus, word);
  }
}

// Pair `Pair` of a group of four channels, of which even[tap] has the numbers of the first and the third, and odd[tap]
// those of the others.
template <int Pair>
[[gnu::always_inline]] inline uint32_t pair_of(const uint32_t* even, const uint32_t* odd) {
  constexpr int a = Pair / 2 * 4 + Pair % 2, b = a + 2;  // numbers, of 36
  const uint32_t x = (a / 9 % 2 ? odd : even)[a % 9], y = (b / 9 % 2 ? odd : even)[b % 9];
  return pack<a / 9 / 2 != 0, b / 9 / 2 != 0>(x, y);
}

template <int32_t P, size_t... Pairs>
[[gnu::always_inline]] inline void store_pairs(const uint32_t* even, const uint32_t* odd, uint32_t* to,
                                               std::index_sequence<Pairs...>) {
  ((to[Pairs * P] = pair_of<static_cast<int>(Pairs)>(even, odd)), ...);
}

// A 3x3 window; `channels` is a multiple of 4.
template <int32_t P>
__attribute__((noinline, optimize("O2"))) void gather_3x3(const WindowRows& w, int32_t channels, int32_t zero,
                                                          PatchNumber* patch) {
  const int8_t *x0 = w.rows[0] + w.offset, *x1 = w.rows[1] + w.offset, *x2 = w.rows[2] + w.offset;
  const ptrdiff_t column = w.column;
  auto* to = reinterpret_cast<uint32_t*>(patch);
  const uint32_t minus = negated_pair(zero);
  for (int32_t c = channels; c > 0; c -= 4, x0 += 4, x1 += 4, x2 += 4, to += 18 * P) {
    const uint32_t words[9] = {load_word(x0), load_word(x0 + column), load_word(x0 + 2 * column),
                               load_word(x1), load_word(x1 + column), load_word(x1 + 2 * column),
                               load_word(x2), load_word(x2 + column), load_word(x2 + 2 * column)};
    uint32_t even[9], odd[9];
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) even[t] = add_even(minus, words[t]), odd[t] = add_odd(minus, words[t]);
    store_pairs<P>(even, odd, to, std::make_index_sequence<18>());
  }
}

// sums[p] += the product of `groups` groups of four weights, which may begin at any byte, with the patch of four
// pixels. 13 instructions for 16 multiply-accumulates.
inline void multiply_4(const int8_t* weight, const PatchNumber* patch, int32_t groups, int32_t* sums) {
  int32_t a0 = sums[0], a1 = sums[1], a2 = sums[2], a3 = sums[3];
#define SPARSENET_GROUP                                                                               \
  "ldr %[w], [%[v]], #4\n ldmia %[x]!, {r4-r6, r8}\n sxtb16 %[t], %[w]\n sxtb16 %[w], %[w], ror #8\n" \
  "smlad %[a0], r4, %[t], %[a0]\n smlad %[a1], r5, %[t], %[a1]\n smlad %[a2], r6, %[t], %[a2]\n"      \
  "smlad %[a3], r8, %[t], %[a3]\n ldmia %[x]!, {r4-r6, r8}\n smlad %[a0], r4, %[w], %[a0]\n"          \
  "smlad %[a1], r5, %[w], %[a1]\n smlad %[a2], r6, %[w], %[a2]\n smlad %[a3], r8, %[w], %[a3]\n"
  uint32_t w, t;
  int32_t rounds = groups >> 2;
  if (rounds > 0) {
    asm volatile("1:\n" SPARSENET_GROUP SPARSENET_GROUP SPARSENET_GROUP SPARSENET_GROUP "subs %[n], #1\n bne 1b\n"
                 : [v] "+r"(weight), [x] "+r"(patch), [n] "+r"(rounds), [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2),
                   [a3] "+r"(a3), [w] "=&r"(w), [t] "=&r"(t)
                 :
                 : "r4", "r5", "r6", "r8", "cc", "memory");
  }
  rounds = groups & 3;
  if (rounds > 0) {
    asm volatile("1:\n" SPARSENET_GROUP "subs %[n], #1\n bne 1b\n"
                 : [v] "+r"(weight), [x] "+r"(patch), [n] "+r"(rounds), [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2),
                   [a3] "+r"(a3), [w] "=&r"(w), [t] "=&r"(t)
                 :
                 : "r4", "r5", "r6", "r8", "cc", "memory");
  }
#undef SPARSENET_GROUP
  sums[0] = a0, sums[1] = a1, sums[2] = a2, sums[3] = a3;
}

// The same for one pixel: 6 instructions for 4.
inline void multiply_1(const int8_t* weight, const PatchNumber* patch, int32_t groups, int32_t* sums) {
  int32_t a0 = sums[0];
#define SPARSENET_GROUP                                                                            \
  "ldr %[w], [%[v]], #4\n ldmia %[x]!, {r4, r5}\n sxtb16 %[t], %[w]\n sxtb16 %[w], %[w], ror #8\n" \
  "smlad %[a0], r4, %[t], %[a0]\n smlad %[a0], r5, %[w], %[a0]\n"
  uint32_t w, t;
  int32_t rounds = groups >> 2;
  if (rounds > 0) {
    asm volatile("1:\n" SPARSENET_GROUP SPARSENET_GROUP SPARSENET_GROUP SPARSENET_GROUP "subs %[n], #1\n bne 1b\n"
                 : [v] "+r"(weight), [x] "+r"(patch), [n] "+r"(rounds), [a0] "+r"(a0), [w] "=&r"(w), [t] "=&r"(t)
                 :
                 : "r4", "r5", "cc", "memory");
  }
  rounds = groups & 3;
  if (rounds > 0) {
    asm volatile("1:\n" SPARSENET_GROUP "subs %[n], #1\n bne 1b\n"
                 : [v] "+r"(weight), [x] "+r"(patch), [n] "+r"(rounds), [a0] "+r"(a0), [w] "=&r"(w), [t] "=&r"(t)
                 :
                 : "r4", "r5", "cc", "memory");
  }
#undef SPARSENET_GROUP
  sums[0] = a0;
}

#else

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
inline void multiply_4(const int8_t* weight, const PatchNumber* patch, int32_t groups, int32_t* sums) {
  multiply_groups<4>(weight, patch, groups, sums);
}
inline void multiply_1(const int8_t* weight, const PatchNumber* patch, int32_t groups, int32_t* sums) {
  multiply_groups<1>(weight, patch, groups, sums);
}

#endif

template <int32_t P>
[[gnu::always_inline]] inline void gather_window(const WindowRows& w, int32_t kernel_h, int32_t kernel_w,
                                                 int32_t channels, int32_t zero, PatchNumber* patch) {
#if defined(SPARSENET_ARM_DSP)
  if (channels % 4 == 0 && kernel_h == 1 && kernel_w == 1) return gather_1x1<P>(w, channels, zero, patch);
  if (channels % 4 == 0 && kernel_h == 3 && kernel_w == 3) return gather_3x3<P>(w, channels, zero, patch);
#endif
  gather_any<P>(w, kernel_h, kernel_w, channels, zero, patch);
}

// sums[p] += the products of `count` weights with the patch.
template <int32_t P>
[[gnu::always_inline]] inline void multiply_patch(const int8_t* weight, const PatchNumber* patch, int32_t count,
                                                  int32_t* sums) {
  if constexpr (P == 4) {
    multiply_4(weight, patch, count >> 2, sums);
  } else {
    multiply_1(weight, patch, count >> 2, sums);
  }
  for (int32_t k = count & ~3; k < count; ++k) {
    for (int32_t p = 0; p < P; ++p) sums[p] = wrapped_sum(sums[p], weight[k] * patch[patch_index<P>(k) + 2 * p]);
  }
}

}  // namespace sparsenet::rt::compact

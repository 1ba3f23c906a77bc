// The inner loops of conv.cpp for ARM's M profile with an FPU. Compilers load floats one by one; here one vldmia loads
// what two taps of a 1x1 kernel, or a row of a 3x3 kernel, read: 39 instructions for 32 multiply-adds, 55 for 48,
// whether the kernel's stride is 1 or 2. The sums are in s0-s15 ([pixel][output], so that a pixel's are loaded and
// stored together); s16-s31 hold values and weights.
#pragma once

#include "kernels/compact/compact.h"

namespace sparsenet::rt::compact {

// Adds to the sums of an output at four pixels: weight w, values x0..x3. All arguments are numbers of registers.
#define SPARSENET_ROW(a0, a1, a2, a3, w, x0, x1, x2, x3)                                                            \
  "vfma.f32 s" #a0 ", s" #w ", s" #x0 "\n vfma.f32 s" #a1 ", s" #w ", s" #x1 "\n vfma.f32 s" #a2 ", s" #w ", s" #x2 \
  "\n vfma.f32 s" #a3 ", s" #w ", s" #x3 "\n"
#define SPARSENET_FIRST_TWO(w0, w1, x0, x1, x2, x3) \
  SPARSENET_ROW(0, 4, 8, 12, w0, x0, x1, x2, x3) SPARSENET_ROW(1, 5, 9, 13, w1, x0, x1, x2, x3)
#define SPARSENET_LAST_TWO(w2, w3, x0, x1, x2, x3) \
  SPARSENET_ROW(2, 6, 10, 14, w2, x0, x1, x2, x3) SPARSENET_ROW(3, 7, 11, 15, w3, x0, x1, x2, x3)
#define SPARSENET_TAP(w0, w1, w2, w3, x0, x1, x2, x3) \
  SPARSENET_FIRST_TWO(w0, w1, x0, x1, x2, x3) SPARSENET_LAST_TWO(w2, w3, x0, x1, x2, x3)
// The three taps of a row of a 3x3 kernel, for two outputs with weights in s25-s27 and s28-s30. The row is six values
// from s16 on with stride 1, nine with stride 2.
#define SPARSENET_STRIDE_1(two) two(25, 28, 16, 17, 18, 19) two(26, 29, 17, 18, 19, 20) two(27, 30, 18, 19, 20, 21)
#define SPARSENET_STRIDE_2(two) two(25, 28, 16, 18, 20, 22) two(26, 29, 17, 19, 21, 23) two(27, 30, 18, 20, 22, 24)
#define SPARSENET_CLOBBERS                                                                                            \
  "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "s16", "s17", \
      "s18", "s19", "s20", "s21", "s22", "s23", "s24", "s25", "s26", "s27", "s28", "s29", "s30", "s31", "cc", "memory"

// The sums begin with their output's bias.
#define SPARSENET_BEGIN "vldmia %[b], {s0-s3}\n vldmia %[b], {s4-s7}\n vldmia %[b], {s8-s11}\n vldmia %[b], {s12-s15}\n"
// Two weights of a row; three.
#define SPARSENET_LOAD_2(v, w0, w1) "vldmia %[" #v "]!, {s" #w0 "-s" #w1 "}\n"
#define SPARSENET_LOAD_3(v, w0, w1, w2) SPARSENET_LOAD_2(v, w0, w2)

// Float16 weights and biases: vcvtb and vcvtt widen the lower and the upper half of a register. One load brings two
// weights of a row: 51 instructions for 32 multiply-adds of a 1x1 kernel, 79 for 48 of a 3x3 kernel. Rows begin at
// multiples of two bytes, so weights are loaded by `ldr` and `ldrh`, which need no alignment.
#define SPARSENET_HALF_2(v, lo, hi)                                                                                    \
  "ldr %[t], [%[" #v "]], #4\n vmov s" #lo ", %[t]\n vcvtt.f32.f16 s" #hi ", s" #lo "\n vcvtb.f32.f16 s" #lo ", s" #lo \
  "\n"
#define SPARSENET_HALF_1(v, w) "ldrh %[t], [%[" #v "]], #2\n vmov s" #w ", %[t]\n vcvtb.f32.f16 s" #w ", s" #w "\n"
#define SPARSENET_HALF_3(v, w0, w1, w2) SPARSENET_HALF_2(v, w0, w1) SPARSENET_HALF_1(v, w2)
#define SPARSENET_HALF_BIAS(at, first, second, third, fourth)                                                          \
  "ldrh %[t], [%[b], #" #at "]\n vmov s" #first ", %[t]\n vcvtb.f32.f16 s" #first ", s" #first "\n vmov.f32 s" #second \
  ", s" #first "\n vmov.f32 s" #third ", s" #first "\n vmov.f32 s" #fourth ", s" #first "\n"
#define SPARSENET_HALF_BEGIN          \
  SPARSENET_HALF_BIAS(0, 0, 4, 8, 12) \
  SPARSENET_HALF_BIAS(2, 1, 5, 9, 13) SPARSENET_HALF_BIAS(4, 2, 6, 10, 14) SPARSENET_HALF_BIAS(6, 3, 7, 11, 15)

// n inputs; x: [n][4]; four rows of weights, `row` apart; sums: [pixel][output].
[[gnu::always_inline]] inline void sums_1x1(const float* w, const float* b, ptrdiff_t row, const float* x, int32_t n,
                                            float* sums) {
  const float *v0 = w, *v1 = v0 + row, *v2 = v1 + row, *v3 = v2 + row;
  asm volatile(SPARSENET_BEGIN
               "subs %[n], %[n], #2\n"
               "blt 2f\n"
               "1:\n"
               "vldmia %[x]!, {s16-s23}\n"  //
               SPARSENET_LOAD_2(v0, 24, 25) SPARSENET_LOAD_2(v1, 26, 27) SPARSENET_LOAD_2(v2, 28, 29)
                   SPARSENET_LOAD_2(v3, 30, 31) SPARSENET_TAP(24, 26, 28, 30, 16, 17, 18, 19)
                       SPARSENET_TAP(25, 27, 29, 31, 20, 21, 22, 23)
               "subs %[n], %[n], #2\n"
               "bge 1b\n"
               "2:\n"
               "cmp %[n], #-1\n"
               "bne 3f\n"
               "vldmia %[x]!, {s16-s19}\n"
               "vldr s24, [%[v0]]\n"
               "vldr s26, [%[v1]]\n"
               "vldr s28, [%[v2]]\n"
               "vldr s30, [%[v3]]\n" SPARSENET_TAP(24, 26, 28, 30, 16, 17, 18, 19)
               "3:\n"
               "vstmia %[sums], {s0-s15}\n"
               : [v0] "+r"(v0), [v1] "+r"(v1), [v2] "+r"(v2), [v3] "+r"(v3), [x] "+r"(x), [n] "+r"(n)
               : [b] "r"(b), [sums] "r"(sums)
               : SPARSENET_CLOBBERS);
}

[[gnu::always_inline]] inline void sums_1x1(const Half* w, const Half* b, ptrdiff_t row, const float* x, int32_t n,
                                            float* sums) {
  const Half *v0 = w, *v1 = v0 + row, *v2 = v1 + row, *v3 = v2 + row;
  uint32_t t;
  asm volatile(SPARSENET_HALF_BEGIN
               "subs %[n], %[n], #2\n"
               "blt 2f\n"
               "1:\n"
               "vldmia %[x]!, {s16-s23}\n"  //
               SPARSENET_HALF_2(v0, 24, 25) SPARSENET_HALF_2(v1, 26, 27) SPARSENET_HALF_2(v2, 28, 29)
                   SPARSENET_HALF_2(v3, 30, 31) SPARSENET_TAP(24, 26, 28, 30, 16, 17, 18, 19)
                       SPARSENET_TAP(25, 27, 29, 31, 20, 21, 22, 23)
               "subs %[n], %[n], #2\n"
               "bge 1b\n"
               "2:\n"
               "cmp %[n], #-1\n"
               "bne 3f\n"
               "vldmia %[x]!, {s16-s19}\n"  //
               SPARSENET_HALF_1(v0, 24) SPARSENET_HALF_1(v1, 26) SPARSENET_HALF_1(v2, 28) SPARSENET_HALF_1(v3, 30)
                   SPARSENET_TAP(24, 26, 28, 30, 16, 17, 18, 19)
               "3:\n"
               "vstmia %[sums], {s0-s15}\n"
               : [v0] "+r"(v0), [v1] "+r"(v1), [v2] "+r"(v2), [v3] "+r"(v3), [x] "+r"(x), [n] "+r"(n), [t] "=&r"(t)
               : [b] "r"(b), [sums] "r"(sums)
               : SPARSENET_CLOBBERS);
}

// n >= 1 inputs of a 3x3 kernel with stride 1 or 2; x: [n][3][6] or [n][3][9]; the rest as above. `last` is the
// register of a row's last value. t is not used for float32 weights.
#define SPARSENET_SUMS_3X3(begin, load, last, stride) \
  asm volatile(begin                                                                                                  \
               "1:\n"                                                                                                 \
               "vldmia %[x]!, {s16-" #last "}\n" load(v0, 25, 26, 27) load(v1, 28, 29, 30) stride(SPARSENET_FIRST_TWO) \
                   load(v2, 25, 26, 27) load(v3, 28, 29, 30) stride(SPARSENET_LAST_TWO)                               \
               "subs %[n], %[n], #1\n"                                                                                \
               "bne 1b\n"                                                                                             \
               "vstmia %[sums], {s0-s15}\n"                                                                           \
               : [v0] "+r"(v0), [v1] "+r"(v1), [v2] "+r"(v2), [v3] "+r"(v3), [x] "+r"(x), [n] "+r"(n), [t] "=&r"(t)   \
               : [b] "r"(b), [sums] "r"(sums)                                                                         \
               : SPARSENET_CLOBBERS)

template <int32_t kStride>
[[gnu::always_inline]] inline void sums_3x3(const float* w, const float* b, ptrdiff_t row, const float* x, int32_t n,
                                            float* sums) {
  const float *v0 = w, *v1 = v0 + row, *v2 = v1 + row, *v3 = v2 + row;
  uint32_t t;
  n *= 3;
  if constexpr (kStride == 1) {
    SPARSENET_SUMS_3X3(SPARSENET_BEGIN, SPARSENET_LOAD_3, s21, SPARSENET_STRIDE_1);
  } else {
    SPARSENET_SUMS_3X3(SPARSENET_BEGIN, SPARSENET_LOAD_3, s24, SPARSENET_STRIDE_2);
  }
}

template <int32_t kStride>
[[gnu::always_inline]] inline void sums_3x3(const Half* w, const Half* b, ptrdiff_t row, const float* x, int32_t n,
                                            float* sums) {
  const Half *v0 = w, *v1 = v0 + row, *v2 = v1 + row, *v3 = v2 + row;
  uint32_t t;
  n *= 3;
  if constexpr (kStride == 1) {
    SPARSENET_SUMS_3X3(SPARSENET_HALF_BEGIN, SPARSENET_HALF_3, s21, SPARSENET_STRIDE_1);
  } else {
    SPARSENET_SUMS_3X3(SPARSENET_HALF_BEGIN, SPARSENET_HALF_3, s24, SPARSENET_STRIDE_2);
  }
}

#undef SPARSENET_SUMS_3X3
#undef SPARSENET_HALF_BEGIN
#undef SPARSENET_HALF_BIAS
#undef SPARSENET_HALF_3
#undef SPARSENET_HALF_1
#undef SPARSENET_HALF_2
#undef SPARSENET_LOAD_3
#undef SPARSENET_LOAD_2
#undef SPARSENET_BEGIN
#undef SPARSENET_CLOBBERS
#undef SPARSENET_STRIDE_2
#undef SPARSENET_STRIDE_1
#undef SPARSENET_TAP
#undef SPARSENET_LAST_TWO
#undef SPARSENET_FIRST_TWO
#undef SPARSENET_ROW

}  // namespace sparsenet::rt::compact

// The inner loops of conv.cpp for ARM's M profile with an FPU. Compilers load floats one by one; here one vldmia loads
// what two taps of a 1x1 kernel, or a row of a 3x3 kernel, read: 39 instructions for 32 multiply-adds, 55 for 48. The
// sums are in s0-s15 ([output][pixel]); s16-s31 hold values and weights.
#pragma once

#include "kernels/compact/compact.h"

namespace sparsenet::rt::compact {

// Adds to the four sums of an output: weight w, values x0..x3. All arguments are numbers of registers.
#define SPARSENET_ROW(a0, a1, a2, a3, w, x0, x1, x2, x3)                                                            \
  "vfma.f32 s" #a0 ", s" #w ", s" #x0 "\n vfma.f32 s" #a1 ", s" #w ", s" #x1 "\n vfma.f32 s" #a2 ", s" #w ", s" #x2 \
  "\n vfma.f32 s" #a3 ", s" #w ", s" #x3 "\n"
#define SPARSENET_TAP(w0, w1, w2, w3, x0, x1, x2, x3) \
  SPARSENET_ROW(0, 1, 2, 3, w0, x0, x1, x2, x3)       \
  SPARSENET_ROW(4, 5, 6, 7, w1, x0, x1, x2, x3)       \
  SPARSENET_ROW(8, 9, 10, 11, w2, x0, x1, x2, x3) SPARSENET_ROW(12, 13, 14, 15, w3, x0, x1, x2, x3)
// The first sum of each output, its bias, to the other three.
#define SPARSENET_SPREAD                                                                      \
  "vmov.f32 s1, s0\n vmov.f32 s2, s0\n vmov.f32 s3, s0\n vmov.f32 s5, s4\n vmov.f32 s6, s4\n" \
  "vmov.f32 s7, s4\n vmov.f32 s9, s8\n vmov.f32 s10, s8\n vmov.f32 s11, s8\n"                 \
  "vmov.f32 s13, s12\n vmov.f32 s14, s12\n vmov.f32 s15, s12\n"
#define SPARSENET_BEGIN \
  "vldr s0, [%[b]]\n vldr s4, [%[b], #4]\n vldr s8, [%[b], #8]\n vldr s12, [%[b], #12]\n" SPARSENET_SPREAD
#define SPARSENET_CLOBBERS                                                                                            \
  "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "s16", "s17", \
      "s18", "s19", "s20", "s21", "s22", "s23", "s24", "s25", "s26", "s27", "s28", "s29", "s30", "s31", "cc", "memory"

// n inputs; x: [n][4]; four rows of weights, `row` apart; sums: [output][pixel].
inline void sums_1x1(const float* w, const float* b, ptrdiff_t row, const float* x, int32_t n, float* sums) {
  const float *v0 = w, *v1 = v0 + row, *v2 = v1 + row, *v3 = v2 + row;
  asm volatile(SPARSENET_BEGIN
               "subs %[n], %[n], #2\n"
               "blt 2f\n"
               "1:\n"
               "vldmia %[x]!, {s16-s23}\n"
               "vldmia %[v0]!, {s24-s25}\n"
               "vldmia %[v1]!, {s26-s27}\n"
               "vldmia %[v2]!, {s28-s29}\n"
               "vldmia %[v3]!, {s30-s31}\n" SPARSENET_TAP(24, 26, 28, 30, 16, 17, 18, 19)
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

// n >= 1 inputs of a 3x3 kernel; x: [n][3][6]; the rest as above.
inline void sums_3x3(const float* w, const float* b, ptrdiff_t row, const float* x, int32_t n, float* sums) {
  const float *v0 = w, *v1 = v0 + row, *v2 = v1 + row, *v3 = v2 + row;
  n *= 3;
  asm volatile(SPARSENET_BEGIN
               "1:\n"
               "vldmia %[x]!, {s16-s21}\n"
               "vldmia %[v0]!, {s22-s24}\n"
               "vldmia %[v1]!, {s25-s27}\n"
               "vldmia %[v2]!, {s28-s30}\n"  //
               SPARSENET_ROW(0, 1, 2, 3, 22, 16, 17, 18, 19) SPARSENET_ROW(4, 5, 6, 7, 25, 16, 17, 18, 19)
                   SPARSENET_ROW(8, 9, 10, 11, 28, 16, 17, 18, 19) SPARSENET_ROW(0, 1, 2, 3, 23, 17, 18, 19, 20)
                       SPARSENET_ROW(4, 5, 6, 7, 26, 17, 18, 19, 20) SPARSENET_ROW(8, 9, 10, 11, 29, 17, 18, 19, 20)
                           SPARSENET_ROW(0, 1, 2, 3, 24, 18, 19, 20, 21) SPARSENET_ROW(4, 5, 6, 7, 27, 18, 19, 20, 21)
                               SPARSENET_ROW(8, 9, 10, 11, 30, 18, 19, 20, 21)
               "vldmia %[v3]!, {s22-s24}\n"  //
               SPARSENET_ROW(12, 13, 14, 15, 22, 16, 17, 18, 19) SPARSENET_ROW(12, 13, 14, 15, 23, 17, 18, 19, 20)
                   SPARSENET_ROW(12, 13, 14, 15, 24, 18, 19, 20, 21)
               "subs %[n], %[n], #1\n"
               "bne 1b\n"
               "vstmia %[sums], {s0-s15}\n"
               : [v0] "+r"(v0), [v1] "+r"(v1), [v2] "+r"(v2), [v3] "+r"(v3), [x] "+r"(x), [n] "+r"(n)
               : [b] "r"(b), [sums] "r"(sums)
               : SPARSENET_CLOBBERS);
}

// The same for float16 weights: vcvtb and vcvtt widen the lower and the upper half of a register. One load brings two
// weights of a row: 51 instructions for 32 multiply-adds of a 1x1 kernel, 79 for 48 of a 3x3 kernel. Rows begin at
// multiples of two bytes, so weights are loaded by `ldr` and `ldrh`, which need no alignment.
// Two weights to the registers lo and hi; one weight.
#define SPARSENET_PAIR(v, lo, hi)                                                                                      \
  "ldr %[t], [%[" #v "]], #4\n vmov s" #lo ", %[t]\n vcvtt.f32.f16 s" #hi ", s" #lo "\n vcvtb.f32.f16 s" #lo ", s" #lo \
  "\n"
#define SPARSENET_ONE(v, w) "ldrh %[t], [%[" #v "]], #2\n vmov s" #w ", %[t]\n vcvtb.f32.f16 s" #w ", s" #w "\n"
#define SPARSENET_BIAS(at, first) \
  "ldrh %[t], [%[b], #" #at "]\n vmov s" #first ", %[t]\n vcvtb.f32.f16 s" #first ", s" #first "\n"
#define SPARSENET_BEGIN_HALF \
  SPARSENET_BIAS(0, 0) SPARSENET_BIAS(2, 4) SPARSENET_BIAS(4, 8) SPARSENET_BIAS(6, 12) SPARSENET_SPREAD

// n inputs; x: [n][4]; four rows of weights, `row` apart; sums: [output][pixel].
inline void sums_1x1(const Half* w, const Half* b, ptrdiff_t row, const float* x, int32_t n, float* sums) {
  const Half *v0 = w, *v1 = v0 + row, *v2 = v1 + row, *v3 = v2 + row;
  uint32_t t;
  asm volatile(SPARSENET_BEGIN_HALF
               "subs %[n], %[n], #2\n"
               "blt 2f\n"
               "1:\n"
               "vldmia %[x]!, {s16-s23}\n"  //
               SPARSENET_PAIR(v0, 24, 25) SPARSENET_PAIR(v1, 26, 27) SPARSENET_PAIR(v2, 28, 29)
                   SPARSENET_PAIR(v3, 30, 31) SPARSENET_TAP(24, 26, 28, 30, 16, 17, 18, 19)
                       SPARSENET_TAP(25, 27, 29, 31, 20, 21, 22, 23)
               "subs %[n], %[n], #2\n"
               "bge 1b\n"
               "2:\n"
               "cmp %[n], #-1\n"
               "bne 3f\n"
               "vldmia %[x]!, {s16-s19}\n"  //
               SPARSENET_ONE(v0, 24) SPARSENET_ONE(v1, 26) SPARSENET_ONE(v2, 28) SPARSENET_ONE(v3, 30)
                   SPARSENET_TAP(24, 26, 28, 30, 16, 17, 18, 19)
               "3:\n"
               "vstmia %[sums], {s0-s15}\n"
               : [v0] "+r"(v0), [v1] "+r"(v1), [v2] "+r"(v2), [v3] "+r"(v3), [x] "+r"(x), [n] "+r"(n), [t] "=&r"(t)
               : [b] "r"(b), [sums] "r"(sums)
               : SPARSENET_CLOBBERS);
}

// n >= 1 inputs of a 3x3 kernel; x: [n][3][6]; the rest as above.
inline void sums_3x3(const Half* w, const Half* b, ptrdiff_t row, const float* x, int32_t n, float* sums) {
  const Half *v0 = w, *v1 = v0 + row, *v2 = v1 + row, *v3 = v2 + row;
  uint32_t t;
  n *= 3;
  asm volatile(SPARSENET_BEGIN_HALF
               "1:\n"
               "vldmia %[x]!, {s16-s21}\n"  //
               SPARSENET_PAIR(v0, 22, 23) SPARSENET_ONE(v0, 24) SPARSENET_PAIR(v1, 25, 26) SPARSENET_ONE(v1, 27)
                   SPARSENET_PAIR(v2, 28, 29) SPARSENET_ONE(v2, 30)  //
               SPARSENET_ROW(0, 1, 2, 3, 22, 16, 17, 18, 19) SPARSENET_ROW(4, 5, 6, 7, 25, 16, 17, 18, 19)
                   SPARSENET_ROW(8, 9, 10, 11, 28, 16, 17, 18, 19) SPARSENET_ROW(0, 1, 2, 3, 23, 17, 18, 19, 20)
                       SPARSENET_ROW(4, 5, 6, 7, 26, 17, 18, 19, 20) SPARSENET_ROW(8, 9, 10, 11, 29, 17, 18, 19, 20)
                           SPARSENET_ROW(0, 1, 2, 3, 24, 18, 19, 20, 21) SPARSENET_ROW(4, 5, 6, 7, 27, 18, 19, 20, 21)
                               SPARSENET_ROW(8, 9, 10, 11, 30, 18, 19, 20, 21)  //
               SPARSENET_PAIR(v3, 22, 23) SPARSENET_ONE(v3, 24)                 //
               SPARSENET_ROW(12, 13, 14, 15, 22, 16, 17, 18, 19) SPARSENET_ROW(12, 13, 14, 15, 23, 17, 18, 19, 20)
                   SPARSENET_ROW(12, 13, 14, 15, 24, 18, 19, 20, 21)
               "subs %[n], %[n], #1\n"
               "bne 1b\n"
               "vstmia %[sums], {s0-s15}\n"
               : [v0] "+r"(v0), [v1] "+r"(v1), [v2] "+r"(v2), [v3] "+r"(v3), [x] "+r"(x), [n] "+r"(n), [t] "=&r"(t)
               : [b] "r"(b), [sums] "r"(sums)
               : SPARSENET_CLOBBERS);
}

#undef SPARSENET_BEGIN_HALF
#undef SPARSENET_BIAS
#undef SPARSENET_ONE
#undef SPARSENET_PAIR
#undef SPARSENET_CLOBBERS
#undef SPARSENET_BEGIN
#undef SPARSENET_SPREAD
#undef SPARSENET_TAP
#undef SPARSENET_ROW

}  // namespace sparsenet::rt::compact

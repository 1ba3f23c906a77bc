// The inner loops of conv.cpp for ARM's M profile with an FPU. Compilers load floats one by one; here one vldmia loads
// what two inputs of a 1x1 kernel, or a row of a 3x3 kernel, read: 76 instructions for 64 multiply-adds, 55 for 48,
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

// The other three rows of weights.
#define SPARSENET_ROWS "add %[v1], %[v0], %[row]\n add %[v2], %[v1], %[row]\n add %[v3], %[v2], %[row]\n"
// The sums begin with their output's bias.
#define SPARSENET_BEGIN \
  SPARSENET_ROWS "vldmia %[b], {s0-s3}\n vldmia %[b], {s4-s7}\n vldmia %[b], {s8-s11}\n vldmia %[b], {s12-s15}\n"
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
  SPARSENET_ROWS                      \
  SPARSENET_HALF_BIAS(0, 0, 4, 8, 12) \
  SPARSENET_HALF_BIAS(2, 1, 5, 9, 13) SPARSENET_HALF_BIAS(4, 2, 6, 10, 14) SPARSENET_HALF_BIAS(6, 3, 7, 11, 15)

// n inputs; x: [n][4]; four rows of weights, `row` apart; sums: [pixel][output]. Returns where the next four rows
// begin.
#define SPARSENET_TWO_INPUTS                                                                                         \
  "vldmia %[x]!, {s16-s23}\n" SPARSENET_LOAD_2(v0, 24, 25) SPARSENET_LOAD_2(v1, 26, 27) SPARSENET_LOAD_2(v2, 28, 29) \
      SPARSENET_LOAD_2(v3, 30, 31) SPARSENET_TAP(24, 26, 28, 30, 16, 17, 18, 19)                                     \
          SPARSENET_TAP(25, 27, 29, 31, 20, 21, 22, 23)
// The loop takes four inputs; if two are left over, it is entered in its middle.
[[gnu::always_inline]] inline const float* sums_1x1(const float* w, const float* b, ptrdiff_t row, const float* x,
                                                    int32_t n, float* sums) {
  const float *v1, *v2, *v3;
  row *= ptrdiff_t{sizeof *w};
  asm volatile(SPARSENET_BEGIN
               "tst %[n], #2\n"
               "sub %[n], #1\n"
               "bne 2f\n"
               "cmp %[n], #0\n"
               "ble 3f\n"
               "1:\n"  //
               SPARSENET_TWO_INPUTS
               "2:\n"  //
               SPARSENET_TWO_INPUTS
               "subs %[n], #4\n"
               "bgt 1b\n"
               "3:\n"
               "tst %[n], #1\n"
               "bne 4f\n"
               "vldmia %[x]!, {s16-s19}\n"
               "vldr s24, [%[v0]]\n"
               "vldr s26, [%[v1]]\n"
               "vldr s28, [%[v2]]\n"
               "vldmia %[v3]!, {s30}\n" SPARSENET_TAP(24, 26, 28, 30, 16, 17, 18, 19)
               "4:\n"
               "vstmia %[sums], {s0-s15}\n"
               : [v0] "+r"(w), [v1] "=&r"(v1), [v2] "=&r"(v2), [v3] "=&r"(v3), [x] "+r"(x), [n] "+r"(n)
               : [b] "r"(b), [row] "r"(row), [sums] "r"(sums)
               : SPARSENET_CLOBBERS);
  return v3;
}
#undef SPARSENET_TWO_INPUTS

[[gnu::always_inline]] inline const Half* sums_1x1(const Half* w, const Half* b, ptrdiff_t row, const float* x,
                                                   int32_t n, float* sums) {
  const Half *v1, *v2, *v3;
  row *= ptrdiff_t{sizeof *w};
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
               : [v0] "+r"(w), [v1] "=&r"(v1), [v2] "=&r"(v2), [v3] "=&r"(v3), [x] "+r"(x), [n] "+r"(n), [t] "=&r"(t)
               : [b] "r"(b), [row] "r"(row), [sums] "r"(sums)
               : SPARSENET_CLOBBERS);
  return v3;
}

// n >= 1 inputs of a 3x3 kernel with stride 1 or 2; x: [n][3][6] or [n][3][9]; the rest as above. `last` is the
// register of a row's last value; `scratch`, the constraint of a register that only float16 weights need.
#define SPARSENET_SUMS_3X3(begin, load, last, stride, scratch) \
  asm volatile(begin                                                                                                  \
               "1:\n"                                                                                                 \
               "vldmia %[x]!, {s16-" #last "}\n" load(v0, 25, 26, 27) load(v1, 28, 29, 30) stride(SPARSENET_FIRST_TWO) \
                   load(v2, 25, 26, 27) load(v3, 28, 29, 30) stride(SPARSENET_LAST_TWO)                               \
               "subs %[n], %[n], #1\n"                                                                                \
               "bne 1b\n"                                                                                             \
               "vstmia %[sums], {s0-s15}\n"                                                                           \
               : [v0] "+r"(w), [v1] "=&r"(v1), [v2] "=&r"(v2), [v3] "=&r"(v3), [x] "+r"(x), [n] "+r"(n), [t] scratch(t)\
               : [b] "r"(b), [row] "r"(row), [sums] "r"(sums)                                                                         \
               : SPARSENET_CLOBBERS)

template <int32_t kStride>
[[gnu::always_inline]] inline const float* sums_3x3(const float* w, const float* b, ptrdiff_t row, const float* x,
                                                    int32_t n, float* sums) {
  const float *v1, *v2, *v3;
  row *= ptrdiff_t{sizeof *w};
  uint32_t t;
  n *= 3;
  if constexpr (kStride == 1) {
    SPARSENET_SUMS_3X3(SPARSENET_BEGIN, SPARSENET_LOAD_3, s21, SPARSENET_STRIDE_1, "=r");
  } else {
    SPARSENET_SUMS_3X3(SPARSENET_BEGIN, SPARSENET_LOAD_3, s24, SPARSENET_STRIDE_2, "=r");
  }
  return v3;
}

template <int32_t kStride>
[[gnu::always_inline]] inline const Half* sums_3x3(const Half* w, const Half* b, ptrdiff_t row, const float* x,
                                                   int32_t n, float* sums) {
  const Half *v1, *v2, *v3;
  row *= ptrdiff_t{sizeof *w};
  uint32_t t;
  n *= 3;
  if constexpr (kStride == 1) {
    SPARSENET_SUMS_3X3(SPARSENET_HALF_BEGIN, SPARSENET_HALF_3, s21, SPARSENET_STRIDE_1, "=&r");
  } else {
    SPARSENET_SUMS_3X3(SPARSENET_HALF_BEGIN, SPARSENET_HALF_3, s24, SPARSENET_STRIDE_2, "=&r");
  }
  return v3;
}

// Replaces s<v> by s<then> where s<a> > s<b>. On the M profile, an FPU with double precision is an FPv5, which can
// select.
#if __ARM_FP & 8
#define SPARSENET_SELECT(v, then, a, b) \
  "vcmp.f32 s" #a ", s" #b "\n vmrs APSR_nzcv, fpscr\n vselgt.f32 s" #v ", s" #then ", s" #v "\n"
#else
#define SPARSENET_SELECT(v, then, a, b) \
  "vcmp.f32 s" #a ", s" #b "\n vmrs APSR_nzcv, fpscr\n it gt\n vmovgt.f32 s" #v ", s" #then "\n"
#endif
#define SPARSENET_LOW(v) SPARSENET_SELECT(v, 8, 8, v)
#define SPARSENET_HIGH(v) SPARSENET_SELECT(v, 8, v, 8)
#define SPARSENET_EIGHT(each) each(0) each(1) each(2) each(3) each(4) each(5) each(6) each(7)
#define SPARSENET_ADD(v, r) "vadd.f32 s" #v ", s" #v ", s" #r "\n"

// Adds the residual, if there is one, to the 16 sums of a tile, applies the bounds, and stores them in the output, two
// pixels at a time. Only registers that a function need not preserve are used.
__attribute__((noinline)) inline void store_tile(const float* sums, const Finish& how, const float* residual,
                                                 float* out) {
  const float* const end = sums + 16;
  asm volatile(
      "1:\n"
      "vldmia %[sums]!, {s0-s7}\n"
      "cbz %[residual], 2f\n"
      "vldmia %[residual], {s8-s11}\n"
      "add %[residual], %[residual_stride]\n"
      "vldmia %[residual], {s12-s15}\n"
      "add %[residual], %[residual_stride]\n"  //
      SPARSENET_ADD(0, 8) SPARSENET_ADD(1, 9) SPARSENET_ADD(2, 10) SPARSENET_ADD(3, 11)  //
      SPARSENET_ADD(4, 12) SPARSENET_ADD(5, 13) SPARSENET_ADD(6, 14) SPARSENET_ADD(7, 15)
      "2:\n"
      "cbz %[has_low], 3f\n"
      "vmov s8, %[low]\n" SPARSENET_EIGHT(SPARSENET_LOW)
      "3:\n"
      "cbz %[has_high], 4f\n"
      "vmov s8, %[high]\n" SPARSENET_EIGHT(SPARSENET_HIGH)
      "4:\n"
      "vstmia %[out], {s0-s3}\n"
      "add %[out], %[stride]\n"
      "vstmia %[out], {s4-s7}\n"
      "add %[out], %[stride]\n"
      "cmp %[sums], %[end]\n"
      "bne 1b\n"
      : [sums] "+r"(sums), [residual] "+l"(residual), [out] "+r"(out)
      : [has_low] "l"(how.has_low), [has_high] "l"(how.has_high), [low] "r"(how.low), [high] "r"(how.high),
        [residual_stride] "r"(how.residual_stride * ptrdiff_t{sizeof(float)}),
        [stride] "r"(how.out_stride * ptrdiff_t{sizeof(float)}), [end] "r"(end)
      : "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "cc",
        "memory");
}

#undef SPARSENET_ADD
#undef SPARSENET_EIGHT
#undef SPARSENET_HIGH
#undef SPARSENET_LOW
#undef SPARSENET_SELECT
#undef SPARSENET_SUMS_3X3
#undef SPARSENET_HALF_BEGIN
#undef SPARSENET_HALF_BIAS
#undef SPARSENET_HALF_3
#undef SPARSENET_HALF_1
#undef SPARSENET_HALF_2
#undef SPARSENET_LOAD_3
#undef SPARSENET_LOAD_2
#undef SPARSENET_BEGIN
#undef SPARSENET_ROWS
#undef SPARSENET_CLOBBERS
#undef SPARSENET_STRIDE_2
#undef SPARSENET_STRIDE_1
#undef SPARSENET_TAP
#undef SPARSENET_LAST_TWO
#undef SPARSENET_FIRST_TWO
#undef SPARSENET_ROW

}  // namespace sparsenet::rt::compact

// Patches of bytes for Helium, Arm's vectors for the M profile: [pixel][number], the integers as they are. The zero
// point is taken off the sums, by the sum of the weights. Loops end in a part of a vector by themselves (dlstp, letp),
// so a group is one number.
#pragma once

#include <arm_mve.h>

#include "kernels/compact/integer_tile.h"

namespace sparsenet::rt::compact {

using PatchNumber = int8_t;
constexpr int32_t kGroup = 1;

constexpr int64_t row_numbers(int64_t count) {
  return (count + 15) / 16 * 16;
}
template <int32_t P>
constexpr int64_t patch_numbers(int64_t count) {
  return P * row_numbers(count);
}
template <int32_t P>
constexpr int64_t pixel_offset(int64_t count, int32_t p) {
  return p * row_numbers(count);
}
template <int32_t P>
inline void clear_rest(PatchNumber*, int32_t) {}

// The numbers of 16 channels at one tap are as far from each other as there are taps: they are scattered.
constexpr int32_t kMostScattered = 17;  // taps; a distance of 15 times as many is a byte

template <int32_t P>
inline void gather_window(const WindowRows& w, int32_t kernel_h, int32_t kernel_w, int32_t channels, int32_t,
                          PatchNumber* patch) {
  const int32_t taps = kernel_h * kernel_w;
  if (taps > kMostScattered) {
    for (int32_t ky = 0, tap = 0; ky < kernel_h; ++ky) {
      const int8_t* x = w.rows[ky] + w.offset;
      for (int32_t kx = 0; kx < kernel_w; ++kx, ++tap, x += w.column) {
        for (int32_t c = 0; c < channels; ++c) patch[c * taps + tap] = x[c];
      }
    }
    return;
  }
  const uint8x16_t places = vmulq_n_u8(vidupq_n_u8(0, 1), static_cast<uint8_t>(taps));
  for (int32_t ky = 0; ky < kernel_h; ++ky) {
    const int8_t* x = w.rows[ky] + w.offset;
    for (int32_t kx = 0; kx < kernel_w; ++kx, x += w.column, ++patch) {
      PatchNumber* to = patch;
      const int8_t* from = x;
      for (int32_t c = channels; c > 0; c -= 16, from += 16, to += 16 * taps) {
        const mve_pred16_t lanes = vctp8q(static_cast<uint32_t>(c));
        vstrbq_scatter_offset_p_s8(to, places, vldrbq_z_s8(from, lanes), lanes);
      }
    }
  }
}

// 11 instructions for 64 multiply-accumulates.
[[gnu::always_inline]] inline void multiply_4(const int8_t*& weight, const PatchNumber* patch, int32_t count,
                                              int32_t zero, int32_t& a0, int32_t& a1, int32_t& a2, int32_t& a3) {
  const int8_t *x0 = patch, *x1 = x0 + row_numbers(count), *x2 = x1 + row_numbers(count), *x3 = x2 + row_numbers(count);
  const int8_t* w = weight;
  int32_t sum = 0;  // of the weights
  asm volatile(
      "dlstp.8 lr, %[n]\n"
      "1:\n"
      "vldrb.8 q0, [%[w]], #16\n vldrb.8 q1, [%[x0]], #16\n vaddva.s8 %[sum], q0\n vmladava.s8 %[a0], q0, q1\n"
      "vldrb.8 q1, [%[x1]], #16\n vmladava.s8 %[a1], q0, q1\n vldrb.8 q1, [%[x2]], #16\n"
      "vmladava.s8 %[a2], q0, q1\n vldrb.8 q1, [%[x3]], #16\n vmladava.s8 %[a3], q0, q1\n"
      "letp lr, 1b\n"
      : [w] "+r"(w), [x0] "+r"(x0), [x1] "+r"(x1), [x2] "+r"(x2), [x3] "+r"(x3), [sum] "+Te"(sum), [a0] "+Te"(a0),
        [a1] "+Te"(a1), [a2] "+Te"(a2), [a3] "+Te"(a3)
      : [n] "r"(count)
      : "lr", "d0", "d1", "d2", "d3", "cc", "memory");
  weight += count;
  sum *= zero;
  a0 -= sum, a1 -= sum, a2 -= sum, a3 -= sum;
}

[[gnu::always_inline]] inline void multiply_1(const int8_t*& weight, const PatchNumber* patch, int32_t count,
                                              int32_t zero, int32_t& a0) {
  const int8_t* w = weight;
  int32_t sum = 0;
  asm volatile(
      "dlstp.8 lr, %[n]\n"
      "1:\n"
      "vldrb.8 q0, [%[w]], #16\n vldrb.8 q1, [%[x]], #16\n vaddva.s8 %[sum], q0\n vmladava.s8 %[a0], q0, q1\n"
      "letp lr, 1b\n"
      : [w] "+r"(w), [x] "+r"(patch), [sum] "+Te"(sum), [a0] "+Te"(a0)
      : [n] "r"(count)
      : "lr", "d0", "d1", "d2", "d3", "cc", "memory");
  weight += count;
  a0 -= sum * zero;
}

// Never called: a group is one number.
template <int32_t P>
void multiply_rest(const int8_t* weight, const PatchNumber* patch, int32_t k, int32_t count, int32_t* sums);

}  // namespace sparsenet::rt::compact

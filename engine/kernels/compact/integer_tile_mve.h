// Patches of bytes for Helium, Arm's vectors for the M profile: [pixel][number], the integers as they are. The zero
// point is taken off the biases, times the sum of the weights. Loops end in a part of a vector by themselves (dlstp,
// letp), so a group is one number.
#pragma once

#include <arm_mve.h>

#include "kernels/compact/integer_tile.h"

namespace sparsenet::rt::compact {

using PatchNumber = int8_t;
constexpr int32_t kGroup = 1, kTilePixels = 3;
constexpr bool kAdjustsBiases = true, kStoresFewer = true;

constexpr int32_t row_numbers(int32_t count) {
  return (count + 15) / 16 * 16;
}
template <int32_t P>
constexpr int64_t patch_numbers(int32_t count) {
  return P * int64_t{row_numbers(count)};
}
template <int32_t P>
constexpr int64_t pixel_offset(int32_t count, int32_t p) {
  return p * int64_t{row_numbers(count)};
}
template <int32_t P>
inline void clear_rest(PatchNumber*, int32_t) {}

// (Calls of the C library's functions would take more than the copies of a few channels.)
[[gnu::always_inline]] inline void copy_numbers(const int8_t* from, int32_t count, int8_t* to) {
  asm volatile(
      "dlstp.8 lr, %[n]\n"
      "1: vldrb.8 q0, [%[from]], #16\n vstrb.8 q0, [%[to]], #16\n letp lr, 1b\n"
      : [from] "+r"(from), [to] "+r"(to)
      : [n] "r"(count)
      : "lr", "d0", "d1", "cc", "memory");
}
[[gnu::always_inline]] inline void fill_numbers(int32_t number, int32_t count, int8_t* to) {
  asm volatile(
      "vdup.8 q0, %[number]\n dlstp.8 lr, %[n]\n"
      "1: vstrb.8 q0, [%[to]], #16\n letp lr, 1b\n"
      : [to] "+r"(to)
      : [n] "r"(count), [number] "r"(number)
      : "lr", "d0", "d1", "cc", "memory");
}

inline const int32_t* adjusted_biases(const int8_t* weight, const int32_t* bias, int32_t outputs, int32_t count,
                                      int32_t zero, int32_t* to) {
  for (int32_t o = 0; o < outputs; ++o) {
    int32_t sum = 0, left = count;
    asm volatile(
        "dlstp.8 lr, %[n]\n"
        "1: vldrb.8 q0, [%[w]], #16\n vaddva.s8 %[sum], q0\n letp lr, 1b\n"
        : [w] "+r"(weight), [sum] "+Te"(sum)
        : [n] "r"(left)
        : "lr", "d0", "d1", "cc", "memory");
    weight += count - row_numbers(count);
    to[o] = (bias ? bias[o] : 0) - zero * sum;
  }
  return to;
}

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
  if (w.column == channels && channels > 1 && kernel_w * channels <= 16) {
    // A row of the window is one vector, [column][channel].
    const uint8x16_t lane = vidupq_n_u8(0, 1);
    const uint8x16_t kx = vmulhq_u8(lane, vdupq_n_u8(static_cast<uint8_t>(256 / channels + 1)));  // lane / channels
    const uint8x16_t c = vsubq_u8(lane, vmulq_n_u8(kx, static_cast<uint8_t>(channels)));
    const uint8x16_t to = vaddq_u8(vmulq_n_u8(c, static_cast<uint8_t>(taps)), kx);
    const mve_pred16_t lanes = vctp8q(static_cast<uint32_t>(kernel_w * channels));
    for (int32_t ky = 0; ky < kernel_h; ++ky, patch += kernel_w) {
      vstrbq_scatter_offset_p_s8(patch, to, vldrbq_z_s8(w.rows[ky] + w.offset, lanes), lanes);
    }
    return;
  }
  const uint8x16_t places = vmulq_n_u8(vidupq_n_u8(0, 1), static_cast<uint8_t>(taps));
  const ptrdiff_t column = w.column;
  int32_t c = 0;
  if (kernel_h == 3 && kernel_w == 3) {
    const int8_t *x0 = w.rows[0] + w.offset, *x1 = w.rows[1] + w.offset, *x2 = w.rows[2] + w.offset;
    for (; c + 16 <= channels; c += 16, patch += 16 * 9, x0 += 16, x1 += 16, x2 += 16) {
      vstrbq_scatter_offset_s8(patch, places, vldrbq_s8(x0));
      vstrbq_scatter_offset_s8(patch + 1, places, vldrbq_s8(x0 + column));
      vstrbq_scatter_offset_s8(patch + 2, places, vldrbq_s8(x0 + 2 * column));
      vstrbq_scatter_offset_s8(patch + 3, places, vldrbq_s8(x1));
      vstrbq_scatter_offset_s8(patch + 4, places, vldrbq_s8(x1 + column));
      vstrbq_scatter_offset_s8(patch + 5, places, vldrbq_s8(x1 + 2 * column));
      vstrbq_scatter_offset_s8(patch + 6, places, vldrbq_s8(x2));
      vstrbq_scatter_offset_s8(patch + 7, places, vldrbq_s8(x2 + column));
      vstrbq_scatter_offset_s8(patch + 8, places, vldrbq_s8(x2 + 2 * column));
    }
    if (c == channels) return;
  }
  // Any other window, and the channels that are left.
  const int32_t next = 16 * taps, left = channels - c;
  for (int32_t ky = 0; ky < kernel_h; ++ky) {
    const int8_t* x = w.rows[ky] + w.offset + c;
    for (int32_t kx = kernel_w; kx > 0; --kx, x += column, ++patch) {
      const int8_t* from = x;
      PatchNumber* to = patch;
      asm volatile(
          "dlstp.8 lr, %[n]\n"
          "1: vldrb.8 q0, [%[from]], #16\n vstrb.8 q0, [%[to], %q[places]]\n add %[to], %[next]\n letp lr, 1b\n"
          : [from] "+r"(from), [to] "+r"(to)
          : [n] "r"(left), [next] "r"(next), [places] "w"(places)
          : "lr", "d0", "d1", "cc", "memory");
    }
  }
}

template <int32_t P>
[[gnu::always_inline]] inline void multiply(const int8_t* weight, const PatchNumber* patch, int32_t count,
                                            int32_t* sums) {
  for (int32_t p = 0; p < P; ++p, patch += row_numbers(count)) {
    const int8_t *w = weight, *x = patch;
    asm volatile(
        "dlstp.8 lr, %[n]\n"
        "1: vldrb.8 q0, [%[w]], #16\n vldrb.8 q1, [%[x]], #16\n vmladava.s8 %[a], q0, q1\n letp lr, 1b\n"
        : [w] "+r"(w), [x] "+r"(x), [a] "+Te"(sums[p])
        : [n] "r"(count)
        : "lr", "d0", "d1", "d2", "d3", "cc", "memory");
  }
}

// Two outputs of three pixels. 12 instructions for 96 multiply-accumulates.
[[gnu::always_inline]] inline void multiply_2x3(const int8_t* w0, const PatchNumber* patch, int32_t count, int32_t& a0,
                                                int32_t& a1, int32_t& a2, int32_t& b0, int32_t& b1, int32_t& b2) {
  const int32_t row = row_numbers(count);
  const int8_t *x0 = patch, *x1 = x0 + row, *x2 = x1 + row, *w1 = w0 + count;
  register int32_t n asm("lr") = count;
  asm volatile(
      "dlstp.8 lr, lr\n"
      "1: vldrb.8 q0, [%[w0]], #16\n vldrb.8 q2, [%[x0]], #16\n vmladava.s8 %[a0], q0, q2\n"
      "vldrb.8 q1, [%[w1]], #16\n vmladava.s8 %[b0], q1, q2\n vldrb.8 q2, [%[x1]], #16\n"
      "vmladava.s8 %[a1], q0, q2\n vmladava.s8 %[b1], q1, q2\n vldrb.8 q2, [%[x2]], #16\n"
      "vmladava.s8 %[a2], q0, q2\n vmladava.s8 %[b2], q1, q2\n"
      "letp lr, 1b\n"
      : [n] "+r"(n), [w0] "+r"(w0), [w1] "+r"(w1), [x0] "+r"(x0), [x1] "+r"(x1), [x2] "+r"(x2), [a0] "+Te"(a0),
        [a1] "+Te"(a1), [a2] "+Te"(a2), [b0] "+Te"(b0), [b1] "+Te"(b1), [b2] "+Te"(b2)
      :
      : "d0", "d1", "d2", "d3", "d4", "d5", "cc", "memory");
}

// Never called: a group is one number.
template <int32_t P>
void multiply_rest(const int8_t* weight, const PatchNumber* patch, int32_t k, int32_t count, int32_t* sums);

// fast_product() of four numbers, plus the zero point, in int8: the lowest byte of each lane.
template <Rounding kRounding>
[[gnu::always_inline]] inline int32x4_t bytes_of(int32x4_t v, const Factor& f, int32_t zero) {
  if constexpr (kRounding == Rounding::kDouble) {
    v = vqrdmulhq_n_s32(v, f.value);
    v = vaddq_s32(v, vshrq_n_s32(v, 31));
  } else {
    v = vmulhq_s32(v, vdupq_n_s32(f.value));
  }
  v = vaddq_n_s32(vrshlq_n_s32(v, -f.right), zero);
  asm("vqmovnb.s32 %q0, %q0\n vqmovnb.s16 %q0, %q0" : "+w"(v));
  return v;
}

// Lane 3 is as lane 0.
[[gnu::always_inline]] inline int32x4_t vector_of(int32_t a, int32_t b, int32_t c) {
  int32x4_t v;
  asm("vmov %q0[2], %q0[0], %2, %1\n vmov %q0[3], %q0[1], %3, %2" : "=&w"(v) : "r"(c), "r"(a), "r"(b));
  return v;
}

// Stores the lowest bytes of the first lanes at the offsets. A whole tile needs no predicate: its last lane, which is
// as lane 1, goes where that one goes.
template <bool kWhole>
[[gnu::always_inline]] inline void store_lanes(int8_t* out, uint32x4_t offsets, int32x4_t v, mve_pred16_t lanes) {
  if constexpr (kWhole) {
    vstrbq_scatter_offset_s32(out, offsets, v);
  } else {
    vstrbq_scatter_offset_p_s32(out, offsets, v, lanes);
  }
}

template <Rounding kRounding, bool kWhole>
__attribute__((noinline, optimize("O2"))) void run_pairs(const Tile& t, const PatchNumber* patch) {
  const auto stride = static_cast<uint32_t>(t.stride);
  uint32x4_t offsets = vmulq_n_u32(vidupq_n_u32(0, 1), stride);
  if (kWhole) offsets = vsetq_lane_u32(0, offsets, 3);
  const mve_pred16_t lanes = vctp32q(static_cast<uint32_t>(t.pixels));
  const int32_t count = t.count, zero = t.zero;
  const int8_t* weight = t.weight;
  const int32_t* bias = t.biases;
  int8_t* out = t.out;
  const Multiplier *m = t.multipliers, *const end = m + (t.outputs & ~1);
  for (; m != end; m += 2, out += 2, bias += 2, weight += 2 * count) {
    int32_t a0 = bias[0], a1 = a0, a2 = a0, b0 = bias[1], b1 = b0, b2 = b0;
    multiply_2x3(weight, patch, count, a0, a1, a2, b0, b1, b2);
    const int32x4_t a = bytes_of<kRounding>(vector_of(a0, a1, a2), fast_factor<kRounding>(m[0]), zero);
    store_lanes<kWhole>(out, offsets, a, lanes);
    const int32x4_t b = bytes_of<kRounding>(vector_of(b0, b1, b2), fast_factor<kRounding>(m[1]), zero);
    store_lanes<kWhole>(out + 1, offsets, b, lanes);
  }
}

// Pairs of outputs; returns how many outputs that is.
template <Rounding kRounding>
inline int32_t run_straight(const Tile& t, const PatchNumber* patch) {
  (t.pixels == kTilePixels ? run_pairs<kRounding, true> : run_pairs<kRounding, false>)(t, patch);
  return t.outputs & ~1;
}

template <Rounding kRounding>
inline void add_entries(const int32_t* first, const int32_t* second, const uint8_t* x, const uint8_t* y, int32_t count,
                        const Factor& f, int32_t zero, int8_t* out) {
  for (; count >= 4; count -= 4, x += 4, y += 4, out += 4) {
    const int32x4_t a = vldrwq_gather_shifted_offset_s32(first, vldrbq_u32(x));
    const int32x4_t b = vldrwq_gather_shifted_offset_s32(second, vldrbq_u32(y));
    vstrbq_s32(out, bytes_of<kRounding>(vaddq_s32(a, b), f, zero));
  }
  if (count == 0) return;
  const mve_pred16_t lanes = vctp32q(static_cast<uint32_t>(count));
  const int32x4_t a = vldrwq_gather_shifted_offset_z_s32(first, vldrbq_z_u32(x, lanes), lanes);
  const int32x4_t b = vldrwq_gather_shifted_offset_z_s32(second, vldrbq_z_u32(y, lanes), lanes);
  vstrbq_p_s32(out, bytes_of<kRounding>(vaddq_s32(a, b), f, zero), lanes);
}

}  // namespace sparsenet::rt::compact

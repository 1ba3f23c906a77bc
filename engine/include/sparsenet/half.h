// IEEE 754 half precision (binary16), DataType::kFloat16: 16 bits per number, with 11 significant bits and magnitudes
// of up to 65,504. The conversions are inline and freestanding: they need no support from a library.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace sparsenet {

// Exact, also for subnormal numbers, and even while the CPU flushes denormals to zero.
inline float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16, magnitude = half & 0x7fffu;
  uint32_t bits;
  if (magnitude < 0x0400u) {  // zero and subnormal: a multiple of 2^-24
    const float value = static_cast<float>(magnitude) * 5.9604644775390625e-8f;
    memcpy(&bits, &value, sizeof bits);
  } else if (magnitude >= 0x7c00u) {  // infinity and NaN
    bits = 0x7f800000u | (magnitude << 13);
  } else {
    bits = (magnitude << 13) + (112u << 23);  // the exponent's bias is 15 in half precision, 127 in float32
  }
  bits |= sign;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// Rounds to the nearest, ties to even; magnitudes of 65,520 or more become infinity. NaN stays NaN.
inline uint16_t float_to_half(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  const uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u;
  } else if (magnitude >= 0x477ff000u) {  // 65520: would round to more than 65504, the largest
    half = 0x7c00u;
  } else if (magnitude >= 0x38800000u) {  // 2^-14, the smallest normal number
    const uint32_t odd = (magnitude >> 13) & 1u;
    half = (magnitude + 0xfffu + odd - (112u << 23)) >> 13;
  } else if (magnitude < 0x33000000u) {  // below 2^-25
    half = 0;
  } else {
    const uint32_t shift = 126u - (magnitude >> 23);  // of the significand, to multiples of 2^-24
    const uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
    const uint32_t odd = (significand >> shift) & 1u;
    half = (significand + (1u << (shift - 1)) - 1u + odd) >> shift;
  }
  return static_cast<uint16_t>(sign | half);
}

inline void half_to_float(const uint16_t* from, size_t count, float* to) {
  for (size_t i = 0; i < count; ++i) to[i] = half_to_float(from[i]);
}

}  // namespace sparsenet

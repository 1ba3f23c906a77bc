#include "io/numbers.h"

#include <cmath>
#include <cstring>

namespace sparsenet::io {

float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

double bits_to_double(uint64_t bits) {
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

float half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t fraction = bits & 0x3ffu;
  if (exponent == 0x1f) return bits_to_float(sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0) return bits_to_float(sign | ((exponent + 112) << 23) | (fraction << 13));
  const float magnitude = std::ldexp(static_cast<float>(fraction), -24);  // zero and subnormals are exact
  return sign ? -magnitude : magnitude;
}

uint64_t load_bits(const uint8_t* from, size_t bytes, bool big_endian) {
  uint64_t bits = 0;
  for (size_t i = 0; i < bytes; ++i) {
    const size_t position = big_endian ? bytes - 1 - i : i;
    bits |= static_cast<uint64_t>(from[position]) << (8 * i);
  }
  return bits;
}

int64_t sign_extend(uint64_t bits, size_t bytes) {
  if (bytes == 8) return static_cast<int64_t>(bits);
  const uint64_t sign = uint64_t{1} << (8 * bytes - 1);
  return static_cast<int64_t>(bits ^ sign) - static_cast<int64_t>(sign);
}

}  // namespace sparsenet::io

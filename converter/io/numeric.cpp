#include "converter/io/numeric.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace sparsenet::converter {
const char* name(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return "float32";
    case ElementType::kFloat64:
      return "float64";
    case ElementType::kFloat16:
      return "float16";
    case ElementType::kBFloat16:
      return "bfloat16";
    case ElementType::kInt8:
      return "int8";
    case ElementType::kUInt8:
      return "uint8";
    case ElementType::kInt16:
      return "int16";
    case ElementType::kUInt16:
      return "uint16";
    case ElementType::kInt32:
      return "int32";
    case ElementType::kUInt32:
      return "uint32";
    case ElementType::kInt64:
      return "int64";
    case ElementType::kUInt64:
      return "uint64";
    case ElementType::kBool:
      return "bool";
  }
  return "unknown";
}

size_t size_of(ElementType type) {
  switch (type) {
    case ElementType::kInt8:
    case ElementType::kUInt8:
    case ElementType::kBool:
      return 1;
    case ElementType::kFloat16:
    case ElementType::kBFloat16:
    case ElementType::kInt16:
    case ElementType::kUInt16:
      return 2;
    case ElementType::kFloat32:
    case ElementType::kInt32:
    case ElementType::kUInt32:
      return 4;
    case ElementType::kFloat64:
    case ElementType::kInt64:
    case ElementType::kUInt64:
      return 8;
  }
  return 8;
}

bool is_float(ElementType type) {
  return type == ElementType::kFloat32 || type == ElementType::kFloat64 || type == ElementType::kFloat16 ||
         type == ElementType::kBFloat16;
}

uint16_t load_u16(const uint8_t* b) {
  return static_cast<uint16_t>(b[0] | (b[1] << 8));
}

uint32_t load_u32(const uint8_t* b) {
  return uint32_t{b[0]} | (uint32_t{b[1]} << 8) | (uint32_t{b[2]} << 16) | (uint32_t{b[3]} << 24);
}

uint64_t load_u64(const uint8_t* b) {
  return uint64_t{load_u32(b)} | (uint64_t{load_u32(b + 4)} << 32);
}

float bfloat16_to_float(uint16_t bits) {
  return bits_to_float(uint32_t{bits} << 16);
}

float round_to_half(float value) {
  if (!std::isfinite(value) || value == 0.f) return value;
  // The spacing of half-precision numbers around the value; below their smallest normal number, 2^-14, it is 2^-24.
  int exponent = 0;
  (void)std::frexp(value, &exponent);  // |value| < 2^exponent
  const int spacing = std::max(exponent - 11, -24);
  // Exact except for nearbyint, which rounds ties to even.
  const float rounded = std::ldexp(std::nearbyint(std::ldexp(value, -spacing)), spacing);
  return std::fabs(rounded) > 65504.f ? std::copysign(std::numeric_limits<float>::infinity(), value) : rounded;
}

float round_to_bfloat16(float value) {
  if (!std::isfinite(value)) return value;
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  bits += 0x7fffu + ((bits >> 16) & 1u);
  return bits_to_float(bits & 0xffff0000u);
}

float load_float(ElementType type, const uint8_t* b) {
  switch (type) {
    case ElementType::kFloat32:
      return bits_to_float(load_u32(b));
    case ElementType::kFloat64: {
      const double value = bits_to_double(load_u64(b));
      // Narrowing a value beyond float's range is undefined in C++, so return infinity explicitly.
      if (value > static_cast<double>(std::numeric_limits<float>::max())) return std::numeric_limits<float>::infinity();
      if (value < static_cast<double>(std::numeric_limits<float>::lowest())) {
        return -std::numeric_limits<float>::infinity();
      }
      return static_cast<float>(value);
    }
    case ElementType::kFloat16:
      return half_to_float(load_u16(b));
    case ElementType::kBFloat16:
      return bfloat16_to_float(load_u16(b));
    case ElementType::kUInt64:
      return static_cast<float>(load_u64(b));
    default:
      return static_cast<float>(load_int(type, b));
  }
}

int64_t load_int(ElementType type, const uint8_t* b) {
  switch (type) {
    case ElementType::kInt8:
      return static_cast<int8_t>(b[0]);
    case ElementType::kUInt8:
      return b[0];
    case ElementType::kBool:
      return b[0] != 0;
    case ElementType::kInt16:
      return static_cast<int16_t>(load_u16(b));
    case ElementType::kUInt16:
      return load_u16(b);
    case ElementType::kInt32:
      return static_cast<int32_t>(load_u32(b));
    case ElementType::kUInt32:
      return load_u32(b);
    case ElementType::kInt64:
      return static_cast<int64_t>(load_u64(b));
    case ElementType::kUInt64: {
      const uint64_t value = load_u64(b);
      return value > static_cast<uint64_t>(INT64_MAX) ? INT64_MAX : static_cast<int64_t>(value);
    }
    default: {
      const float value = load_float(type, b);
      if (!(value > -9.2e18f)) return std::isnan(value) ? 0 : INT64_MIN;
      if (value > 9.2e18f) return INT64_MAX;
      return static_cast<int64_t>(value);
    }
  }
}

Elements<float> load_floats(ElementType type, const uint8_t* bytes, size_t count) {
  Elements<float> values;
  values.resize(count);
  float* to = values.data();
  const size_t step = size_of(type);
  for (size_t i = 0; i < count; ++i) to[i] = load_float(type, bytes + i * step);
  return values;
}

Elements<float> load_or_share_floats(ElementType type, const uint8_t* bytes, size_t count,
                                     const std::shared_ptr<const void>& owner) {
  const uint16_t probe = 1;
  const bool little = *reinterpret_cast<const uint8_t*>(&probe) == 1;
  const bool aligned = reinterpret_cast<uintptr_t>(bytes) % alignof(float) == 0;
  if (!owner || !little || !aligned || type != ElementType::kFloat32) return load_floats(type, bytes, count);
  return Elements<float>::view(owner, reinterpret_cast<const float*>(bytes), count);
}

bool multiply(uint64_t a, uint64_t b, uint64_t* product) {
  if (a != 0 && b > UINT64_MAX / a) return false;
  *product = a * b;
  return true;
}

}  // namespace sparsenet::converter

// Element types of source files, and their conversion to float32.
#pragma once

#include <sparsenet/status.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "converter/io/elements.h"
#include "io/numbers.h"

namespace sparsenet::converter {

using io::bits_to_double;
using io::bits_to_float;

enum class ElementType : uint8_t {
  kFloat32,
  kFloat64,
  kFloat16,
  kBFloat16,
  kInt8,
  kUInt8,
  kInt16,
  kUInt16,
  kInt32,
  kUInt32,
  kInt64,
  kUInt64,
  kBool
};

const char* name(ElementType type);
size_t size_of(ElementType type);
bool is_float(ElementType type);

using io::half_to_float;
float bfloat16_to_float(uint16_t bits);

// The nearest value of the narrower type, ties to even, as in IEEE 754 conversions; overflow gives an infinity.
float round_to_half(float value);
float round_to_bfloat16(float value);

// One element from little-endian bytes, independent of the host's byte order.
float load_float(ElementType type, const uint8_t* bytes);
int64_t load_int(ElementType type, const uint8_t* bytes);  // floats are truncated; beyond int64: clamped

// `count` consecutive elements, charged to the conversion's budget (throws BudgetExceeded).
Elements<float> load_floats(ElementType type, const uint8_t* bytes, size_t count);
// The same, but without copying if the bytes already have the right form and `owner` keeps them alive.
Elements<float> load_or_share_floats(ElementType type, const uint8_t* bytes, size_t count,
                                     const std::shared_ptr<const void>& owner);

uint16_t load_u16(const uint8_t* bytes);
uint32_t load_u32(const uint8_t* bytes);
uint64_t load_u64(const uint8_t* bytes);

// Computes a * b; returns false if it overflows.
bool multiply(uint64_t a, uint64_t b, uint64_t* product);

}  // namespace sparsenet::converter

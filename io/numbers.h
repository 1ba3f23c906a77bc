// Numbers in files: little-endian or big-endian bytes, and formats that C++ has no type for.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sparsenet::io {

float bits_to_float(uint32_t bits);
double bits_to_double(uint64_t bits);

// IEEE 754 binary16; exact.
float half_to_float(uint16_t bits);

// An unsigned number of 1 to 8 bytes, whatever the byte order of this machine.
uint64_t load_bits(const uint8_t* from, size_t bytes, bool big_endian);

// The same bytes as a number in two's complement.
int64_t sign_extend(uint64_t bits, size_t bytes);

}  // namespace sparsenet::io

// Numbers as text, without stdio.
#include "board.h"

namespace board {

namespace {

// Divides a number by ten and returns the rest. (The C library's division of 64-bit numbers takes 0.7 KB of flash.)
uint32_t divide_by_ten(uint64_t* number) {
  uint32_t rest = 0;
  uint64_t quotient = 0;
  for (int shift = 48; shift >= 0; shift -= 16) {
    const uint32_t part = rest << 16 | static_cast<uint32_t>(*number >> shift & 0xffff);
    quotient |= uint64_t{part / 10} << shift;
    rest = part % 10;
  }
  *number = quotient;
  return rest;
}

}  // namespace

void print(uint64_t number) {
  print_fixed(number, 0);
}

void print_hex(uint32_t number) {
  char text[9];
  for (int i = 0; i < 8; ++i) text[i] = "0123456789abcdef"[(number >> (28 - 4 * i)) & 15];
  text[8] = '\0';
  print(text);
}

void print_fixed(uint64_t value, int digits) {
  char text[28];
  char* first = text + sizeof text - 1;
  *first = '\0';
  for (int i = 0; i <= digits || value > 0; ++i) {
    if (i == digits && digits > 0) *--first = '.';
    *--first = static_cast<char>('0' + divide_by_ten(&value));
  }
  print(first);
}

void print_small(float value) {
  if (!(value > 0.f)) {
    print(value == 0.f ? "0" : "not a number");
    return;
  }
  int exponent = 0;
  for (; value < 1.f && exponent > -40; --exponent) value *= 10.f;
  for (; value >= 10.f && exponent < 40; ++exponent) value *= 0.1f;
  print_fixed(static_cast<uint32_t>(value * 1000.f), 3);
  print(exponent < 0 ? "e-" : "e+");
  print(static_cast<uint64_t>(exponent < 0 ? -exponent : exponent));
}

}  // namespace board

// Numbers as text, without stdio.
#include "board.h"

namespace board {

void print(uint64_t number) {
  char digits[24];
  char* first = digits + sizeof digits - 1;
  *first = '\0';
  do {
    *--first = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number > 0);
  print(first);
}

void print_hex(uint32_t number) {
  char text[9];
  for (int i = 0; i < 8; ++i) text[i] = "0123456789abcdef"[(number >> (28 - 4 * i)) & 15];
  text[8] = '\0';
  print(text);
}

void print_fixed(uint64_t value, int digits) {
  uint64_t unit = 1;
  for (int i = 0; i < digits; ++i) unit *= 10;
  print(value / unit);
  print(".");
  for (unit /= 10; unit > 0; unit /= 10) print(value / unit % 10);
}

void print_small(float value) {
  if (!(value > 0.f)) {
    print(value == 0.f ? "0" : "not a number");
    return;
  }
  int exponent = 0;
  for (; value < 1.f && exponent > -40; --exponent) value *= 10.f;
  for (; value >= 10.f && exponent < 40; ++exponent) value *= 0.1f;
  print_fixed(static_cast<uint64_t>(value * 1000.f), 3);
  print(exponent < 0 ? "e-" : "e+");
  print(static_cast<uint64_t>(exponent < 0 ? -exponent : exponent));
}

}  // namespace board

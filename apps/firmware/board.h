// What the firmware needs from a board: a way to print, a clock, a light, the depth of the stack, and a way to end.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace board {

void print(const char* text);
void print(uint64_t number);
void print_hex(uint32_t number);
// Prints value * 10^-digits: print_fixed(1234, 2) prints "12.34".
void print_fixed(uint64_t value, int digits);
// Prints four digits and an exponent, as 1.234e-6, which is enough for errors.
void print_small(float value);

uint32_t ticks();  // of a clock that has run since reset, modulo 2^32
uint64_t units(uint64_t ticks);
extern const char* const kUnit;  // "instructions", "ns"

uint64_t microseconds();  // since an arbitrary moment

void led(bool on);

// The serial line. read_byte waits; it returns -1 when the line is closed (or an end-of-transmission byte came).
int read_byte();
void write_byte(char c);

size_t stack_used();  // most bytes used since reset
size_t stack_size();  // 0: unknown

// Bytes of flash by purpose, if the linker script distinguishes them; else zeros.
struct Flash {
  size_t kernels, runtime, rest;
};
Flash flash();

[[noreturn]] void finish(int status);

}  // namespace board

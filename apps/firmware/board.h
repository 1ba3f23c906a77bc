// What the firmware asks of a board: a way to print, a clock, a light, the stack's depth, and an end.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace board {

void print(const char* text);
void print(uint64_t number);
void print_hex(uint32_t number);
// value * 10^-digits, as text: fixed(1234, 2) is "12.34".
void print_fixed(uint64_t value, int digits);
// 1.23e-06: four digits are enough for errors.
void print_small(float value);

uint32_t ticks();  // of a clock that has gone on since reset, modulo 2^32
extern const uint32_t kUnitsPerTick;
extern const char* const kUnit;  // "instructions", "ns"

uint64_t microseconds();  // since any moment

void led(bool on);

// The serial line. read_byte waits; -1 when the line is closed (or end of transmission came).
int read_byte();
void write_byte(char c);

size_t stack_used();  // most bytes since reset
size_t stack_size();  // 0: not known

// Bytes of flash by what they are for, where the linker script tells them apart; else zeros.
struct Flash {
  size_t kernels, runtime, rest;
};
Flash flash();

[[noreturn]] void finish(int status);

}  // namespace board

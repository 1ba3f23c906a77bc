// The firmware as a program of this machine: the same model, kernels and checks, for comparison with boards and for
// stepping through in a debugger. Time is in nanoseconds, not instructions.
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "board.h"

namespace board {

const char* const kUnit = "ns";

void print(const char* text) {
  for (size_t left = strlen(text); left > 0;) {
    const ssize_t written = ::write(1, text, left);
    if (written <= 0) return;
    text += written;
    left -= static_cast<size_t>(written);
  }
}

uint64_t units(uint64_t ticks) {
  return ticks;
}

uint32_t ticks() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint32_t>(static_cast<uint64_t>(now.tv_sec) * 1000000000 + static_cast<uint64_t>(now.tv_nsec));
}

uint64_t microseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

void led(bool on) {
  if (on) print("* ");
}

int read_byte() {
  unsigned char byte = 0;
  return ::read(0, &byte, 1) == 1 && byte != 4 ? byte : -1;
}

void write_byte(char c) {
  (void)!::write(1, &c, 1);
}

size_t stack_used() {
  return 0;
}

size_t stack_size() {
  return 0;
}

Flash flash() {
  return {0, 0, 0};
}

void finish(int status) {
  std::_Exit(status);
}

}  // namespace board

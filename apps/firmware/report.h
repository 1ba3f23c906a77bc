// What the programs for boards print alike.
#pragma once

#include "board.h"
#include "model.h"

namespace report {

static inline void print_line(const char* what, uint64_t number, const char* unit) {
  board::print(what);
  board::print(number);
  board::print(unit);
}

static inline int fail(const char* what, const char* why) {
  board::print("error: ");
  board::print(what);
  board::print(": ");
  board::print(why);
  board::print("\n");
  return 1;
}

// Where the program's bytes are, if the board's linker script says so.
static inline void print_flash() {
  const board::Flash flash = board::flash();
  print_line("flash: model ", MODEL_BYTES, "");
  if (flash.kernels > 0) {
    print_line(", kernels ", flash.kernels, "");
    print_line(", runtime ", flash.runtime, "");
    print_line(", application and C library ", flash.rest, "");
  }
  board::print(" bytes\n");
}

static inline void print_stack() {
  if (board::stack_size() == 0) return;
  print_line("stack: ", board::stack_used(), "");
  print_line(" of ", board::stack_size(), " bytes at most\n");
}

}  // namespace report

// Arm MPS2 with a Cortex-M4 or M7: reset, SysTick, semihosting. Another board replaces this file and mps2.ld.
#include "board.h"

extern "C" {
extern uint32_t data_begin[], data_end[], data_in_flash[], bss_begin[], bss_end[], stack_begin[], stack_end[];
int main(void);
[[noreturn]] void reset(void);
void tick(void);
}

namespace {

constexpr uint32_t kPaint = 0x5AA5C33Cu;

volatile uint32_t& reg(uintptr_t address) {
  return *reinterpret_cast<volatile uint32_t*>(address);
}

// SysTick: 24 bits, counting down with the 25 MHz core clock; -icount shift=0 makes an instruction a nanosecond.
constexpr uintptr_t kSysTickControl = 0xE000E010, kSysTickReload = 0xE000E014, kSysTickValue = 0xE000E018;
constexpr uint32_t kReload = 0x00FFFFFF;
volatile uint32_t wraps = 0;

// Semihosting: what QEMU or a debugger does for the program.
int call_host(int operation, const void* argument) {
  register int r0 asm("r0") = operation;
  register const void* r1 asm("r1") = argument;
  asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}
constexpr int kWriteText = 0x04, kExitExtended = 0x20;
constexpr uint32_t kApplicationExit = 0x20026;

[[noreturn]] void fault() {
  board::print("error: a fault of the processor, at ");
  uint32_t frame;
  asm volatile("mrs %0, msp" : "=r"(frame));
  board::print_hex(frame);
  board::print("\n");
  board::finish(3);
}

}  // namespace

extern "C" {

__attribute__((used, section(".vectors"))) const void* const vectors[16] = {
    stack_end,
    reinterpret_cast<const void*>(reset),
    reinterpret_cast<const void*>(fault),  // NMI
    reinterpret_cast<const void*>(fault),  // HardFault
    reinterpret_cast<const void*>(fault),  // MemManage
    reinterpret_cast<const void*>(fault),  // BusFault
    reinterpret_cast<const void*>(fault),  // UsageFault
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    reinterpret_cast<const void*>(fault),  // SVCall
    nullptr,
    nullptr,
    reinterpret_cast<const void*>(fault),  // PendSV
    reinterpret_cast<const void*>(tick),   // SysTick
};

void tick(void) {
  wraps = wraps + 1;
}

// Nothing may use the FPU before it is on, or variables before they have their values.
__attribute__((naked)) void reset(void) {
  asm volatile(
      "ldr r0, =0xE000ED88\n"  // CPACR: full access to coprocessors 10 and 11, the FPU
      "ldr r1, [r0]\n"
      "orr r1, r1, #0xF00000\n"
      "str r1, [r0]\n"
      "dsb\n"
      "isb\n"
      "b start\n");
}

[[noreturn]] __attribute__((used)) void start(void) {
  for (uint32_t *to = data_begin, *from = data_in_flash; to < data_end;) *to++ = *from++;
  for (uint32_t* to = bss_begin; to < bss_end;) *to++ = 0;
  // Up to where the stack stands now: who looks later sees how deep it went.
  volatile uint32_t* top;
  asm volatile("mov %0, sp" : "=r"(top));
  for (volatile uint32_t* to = stack_begin; to < top; ++to) *to = kPaint;
  reg(kSysTickReload) = kReload;
  reg(kSysTickValue) = 0;
  reg(kSysTickControl) = 7;  // on, with its interrupt, from the core clock
  board::finish(main());
}

}  // extern "C"

namespace board {

const uint32_t kInstructionsPerTick = 40;  // 1 GHz of instructions over 25 MHz

void print(const char* text) {
  call_host(kWriteText, text);
}

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

uint32_t ticks() {
  uint32_t high, value;
  do {
    high = wraps;
    value = reg(kSysTickValue);
  } while (high != wraps);
  return high * (kReload + 1) + (kReload - value);
}

size_t stack_used() {
  const uint32_t* at = stack_begin;
  while (at < stack_end && *at == kPaint) ++at;
  return static_cast<size_t>(stack_end - at) * sizeof *at;
}

size_t stack_size() {
  return static_cast<size_t>(stack_end - stack_begin) * sizeof(uint32_t);
}

void finish(int status) {
  const uint32_t arguments[2] = {kApplicationExit, static_cast<uint32_t>(status)};
  call_host(kExitExtended, arguments);
  for (;;) asm volatile("wfi");
}

}  // namespace board

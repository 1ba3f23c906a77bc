// Arm MPS2 with a Cortex-M4 or M7, and MPS3 with a Cortex-M55 (image AN547): reset, SysTick, semihosting. Another board
// needs a file like this one and a linker script.
#include "board.h"

extern "C" {
extern uint32_t data_begin[], data_end[], data_in_flash[], bss_begin[], bss_end[], stack_begin[], stack_end[];
extern const uint8_t kernels_begin[], kernels_end[], runtime_begin[], runtime_end[], text_begin[], text_end[];
extern void (*init_begin[])(void);
extern void (*init_end[])(void);
int main(void);
[[noreturn]] void reset(void);
void tick(void);
}

namespace {

constexpr uint32_t kPaint = 0x5AA5C33Cu;

volatile uint32_t& reg(uintptr_t address) {
  return *reinterpret_cast<volatile uint32_t*>(address);
}

#if defined(__ARM_FEATURE_MVE)  // MPS3; the processor starts in its secure state
constexpr uintptr_t kUart = 0x59303000, kFpga = 0x59302000;
constexpr uint32_t kMegahertz = 32;
#else  // MPS2
constexpr uintptr_t kUart = 0x40004000, kFpga = 0x40028000;
constexpr uint32_t kMegahertz = 25;
#endif

// SysTick: 24 bits, counting down with the core clock; -icount shift=0 makes an instruction take a nanosecond.
constexpr uintptr_t kSysTickControl = 0xE000E010, kSysTickReload = 0xE000E014, kSysTickValue = 0xE000E018;
constexpr uint32_t kReload = 0x00FFFFFF;
volatile uint32_t wraps = 0;  // how often it has reached 0
constexpr uintptr_t kInterruptState = 0xE000ED04;
constexpr uint32_t kSysTickPending = 1u << 26;  // it has reached 0, and tick() has not been called yet

// The first of the board's UARTs.
constexpr uintptr_t kUartData = kUart, kUartState = kUart + 4, kUartControl = kUart + 8, kUartDivider = kUart + 16;
constexpr uint32_t kSendFull = 1, kReceiveFull = 2, kSendAndReceive = 3;
constexpr uint32_t kDivider = kMegahertz * 1000000 / 115200;
constexpr int kEndOfTransmission = 4;

// The FPGA's LEDs: one bit each.
constexpr uintptr_t kLeds = kFpga;

// Semihosting: services that QEMU or a debugger provides to the program.
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

// Nothing may use the FPU before it is enabled, or variables before they are initialised.
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
  // Fills the memory up to the present stack pointer with a pattern, which later shows how deep the stack went.
  volatile uint32_t* top;
  asm volatile("mov %0, sp" : "=r"(top));
  for (volatile uint32_t* to = stack_begin; to < top; ++to) *to = kPaint;
  for (void (**function)(void) = init_begin; function < init_end; ++function) (*function)();
  reg(kSysTickReload) = kReload;
  reg(kSysTickValue) = 0;
  reg(kUartDivider) = kDivider;
  reg(kUartControl) = kSendAndReceive;
  reg(kSysTickControl) = 7;  // on, with its interrupt, from the core clock
  board::finish(main());
}

}  // extern "C"

namespace board {

const char* const kUnit = "instructions";

void print(const char* text) {
  call_host(kWriteText, text);
}

uint64_t units(uint64_t ticks) {
  constexpr uint32_t kPer8 = 8000 / kMegahertz;  // 1 GHz of instructions
  return ticks * kPer8 / 8;
}

uint32_t ticks() {
  uint32_t high, value, pending;
  do {
    high = wraps;
    pending = reg(kInterruptState) & kSysTickPending;
    value = reg(kSysTickValue);
  } while (high != wraps || pending != (reg(kInterruptState) & kSysTickPending));
  if (pending) ++high;
  // Within a period 0 comes first, not last: the counter is 0 from reset to its first tick, and a wrap is counted when
  // it reaches 0.
  const uint32_t phase = value == 0 ? 0 : kReload + 1 - value;
  return high * (kReload + 1) + phase;
}

uint64_t microseconds() {
  // Must be called before the 32-bit tick count wraps around (172 s): the benchmark's windows are shorter.
  static uint32_t last = 0;
  static uint64_t sum = 0;
  const uint32_t now = ticks();
  sum += static_cast<uint32_t>(now - last);
  last = now;
  return sum / kMegahertz;
}

void led(bool on) {
  reg(kLeds) = on ? 1 : 0;
}

int read_byte() {
  while (!(reg(kUartState) & kReceiveFull)) {
  }
  const auto byte = static_cast<int>(reg(kUartData) & 255u);
  return byte == kEndOfTransmission ? -1 : byte;
}

void write_byte(char c) {
  while (reg(kUartState) & kSendFull) {
  }
  reg(kUartData) = static_cast<uint8_t>(c);
}

size_t stack_used() {
  const uint32_t* at = stack_begin;
  while (at < stack_end && *at == kPaint) ++at;
  return static_cast<size_t>(stack_end - at) * sizeof *at;
}

size_t stack_size() {
  return static_cast<size_t>(stack_end - stack_begin) * sizeof(uint32_t);
}

Flash flash() {
  return {static_cast<size_t>(kernels_end - kernels_begin), static_cast<size_t>(runtime_end - runtime_begin),
          static_cast<size_t>(text_end - text_begin)};
}

void finish(int status) {
  const uint32_t arguments[2] = {kApplicationExit, static_cast<uint32_t>(status)};
  call_host(kExitExtended, arguments);
  for (;;) asm volatile("wfi");
}

}  // namespace board

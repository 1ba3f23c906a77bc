// The serial protocol of the MLPerf Tiny firmware, on a board that does nothing.
#include <cstdarg>
#include <cstdio>

#include "fuzz/target.h"
#include "mlperf_tiny/protocol.h"
#include "mlperf_tiny/th.h"

namespace sparsenet::fuzz {
namespace {

// A runner may ask for a billion inferences.
struct Enough {};
int inferences = 0;
mlperf::Protocol* device = nullptr;

void run(const uint8_t* data, size_t size) {
  uint8_t buffer[48];
  mlperf::Protocol protocol("vendor", "ic01", buffer, sizeof buffer);
  inferences = 0;
  device = &protocol;
  try {
    protocol.start();
    for (size_t i = 0; i < size; ++i) protocol.receive(static_cast<char>(data[i]));
  } catch (const Enough&) {
  }
  if (protocol.input_bytes() > sizeof buffer) __builtin_trap();
}

}  // namespace

extern const Target mlperf_target{"mlperf", 512, run};

}  // namespace sparsenet::fuzz

// The board's functions. Printed text is actually formatted, so that arguments are read as their formats specify.
void th_load_tensor() {}
void th_infer() {
  if (++sparsenet::fuzz::inferences > 1000) throw sparsenet::fuzz::Enough();
}
void th_results() {}
void th_timestamp() {}
void th_printf(const char* format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
}
char th_getchar() {
  return 0;
}
void th_serialport_initialize() {}
void th_timestamp_initialize() {}
void th_final_initialize() {}
void th_pre() {}
void th_post() {}
void th_command_ready(char volatile* command) {
  sparsenet::fuzz::device->execute(const_cast<char*>(command));
}

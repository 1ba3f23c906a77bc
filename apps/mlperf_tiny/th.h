// The porting layer of MLPerf Tiny under its public names (benchmark/api/submitter_implemented.h of mlcommons/tiny):
// what the protocol calls and a board provides. th.cpp implements it once for all boards, on top of a Port and a
// Task.
//
// Nothing here uses a heap, stdio or an operating system. There is one device per program, as in the benchmark.
#pragma once

#include <stdint.h>

namespace sparsenet::mlperf {

class Task;
class Protocol;

// The board: a serial line and a clock.
struct Port {
  int (*get)(void* self);  // waits for and returns the next byte; negative: the line is closed
  void (*put)(void* self, char c);
  uint64_t (*microseconds)(void* self);  // since an arbitrary moment
  void* self;
};

// Sets what the functions below work with. All arguments must outlive their use.
void attach(const Port& port, Protocol* protocol, Task* task);

// Sends the greeting, then answers commands until the line is closed.
void serve();

}  // namespace sparsenet::mlperf

void th_load_tensor();  // from the protocol's buffer
void th_infer();
void th_results();    // m-results-[a,b,...]
void th_timestamp();  // m-lap-us-N
// Supports %s, %c, %d, %u, %lu, %llu, %x and %02x.
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void th_printf(const char* format, ...);
char th_getchar();
void th_serialport_initialize();
void th_timestamp_initialize();
void th_final_initialize();
void th_pre();   // called right before the measured loop
void th_post();  // called right after it
void th_command_ready(char volatile* command);

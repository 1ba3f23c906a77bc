// The porting layer of MLPerf Tiny under its public names (benchmark/api/submitter_implemented.h of mlcommons/tiny):
// what the protocol calls and a board provides. th.cpp provides it once for all boards, over a Port and an IcTask.
//
// Nothing here uses a heap, stdio or an operating system. One device a program, as in the benchmark.
#pragma once

#include <stdint.h>

namespace sparsenet::mlperf {

class IcTask;
class Protocol;

// The board: a serial line and a clock.
struct Port {
  int (*get)(void* self);  // the next byte, waiting for it; negative: the line is closed
  void (*put)(void* self, char c);
  uint64_t (*microseconds)(void* self);  // since any moment
  void* self;
};

// What the functions below work with. Everything must outlive their use.
void attach(const Port& port, Protocol* protocol, IcTask* task);

// Greets, then answers commands until the line is closed.
void serve();

}  // namespace sparsenet::mlperf

void th_load_tensor();  // from the protocol's buffer
void th_infer();
void th_results();    // m-results-[a,b,...]
void th_timestamp();  // m-lap-us-N
// Knows %s, %c, %d, %u, %lu, %llu, %x and %02x.
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void th_printf(const char* format, ...);
char th_getchar();
void th_serialport_initialize();
void th_timestamp_initialize();
void th_final_initialize();
void th_pre();   // right before the measured loop
void th_post();  // and right after it
void th_command_ready(char volatile* command);

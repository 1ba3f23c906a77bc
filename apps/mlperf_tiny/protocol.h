// The serial protocol of MLPerf Tiny's runners, device side: commands that end with '%', answers that end with
// "m-ready". docs/mlperf-tiny.md lists them and their sources.
//
// Works anywhere: no heap, no stdio, no exceptions. It calls the th_* functions of th.h.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace sparsenet::mlperf {

class Protocol {
 public:
  static constexpr size_t kLineBytes = 80;  // longest command; runners send 31 bytes of data in 65 characters

  // `model` is the benchmark's name for the task, as in TaskKind::id; `buffer` holds exactly one input of that task.
  Protocol(const char* vendor, const char* model, uint8_t* buffer, size_t buffer_bytes);

  // Initialises the board's parts and reports that it is ready.
  void start();
  // Handles one character from the line. Carriage returns and line feeds are ignored, so a person may type as well.
  void receive(char c);
  // Executes one command without its terminator, in memory that may be modified; then prints "m-ready".
  void execute(char* command);

  // What "db" commands have loaded so far.
  const uint8_t* input() const { return buffer_; }
  size_t input_bytes() const { return filled_; }

 private:
  void dispatch(char* command);
  void buffer_command(char* rest);
  void load_digits(const char* digits);
  void print_buffer(char* rest);
  void infer_command(char* rest);

  const char *vendor_, *model_;
  uint8_t* buffer_;
  size_t capacity_, expected_ = 0, filled_ = 0;
  char line_[kLineBytes + 1];
  size_t length_ = 0;
  bool overlong_ = false;
};

}  // namespace sparsenet::mlperf

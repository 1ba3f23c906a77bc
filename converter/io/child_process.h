// Runs code that does not survive every input, such as a library for a format that is hard to check beforehand, in a
// process of its own: if that crashes, loops or wants too much memory, only it ends, and the converter reports an
// error.
#pragma once

#include <sparsenet/status.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace sparsenet::converter {

// What the child sends. Small pieces are collected; flush() sends them before the child begins something that may fail.
class ChildOutput {
 public:
  explicit ChildOutput(int fd) : fd_(fd) {}
  void write(const void* bytes, size_t length);
  void flush();

 private:
  int fd_;
  std::string buffer_;
};

// What the parent receives. Nothing in it can be trusted.
class ChildInput {
 public:
  explicit ChildInput(int fd) : fd_(fd) {}
  bool read(void* bytes, size_t length);  // false: the child ended before it sent that much
  bool ended() const { return ended_; }

 private:
  int fd_;
  bool ended_ = false;
};

struct ChildLimits {
  uint64_t memory = 0;   // bytes that the child may allocate
  uint64_t seconds = 0;  // of processor time
};

// Forks. The child sees this process's memory as it is now and sends what `work` writes; this process receives it.
// `work` must not return before it has sent everything. If `receive` stops because the child ended too early, the
// result says how the child ended. The child prints nothing, whatever happens to it.
Status run_in_child(const ChildLimits& limits, const std::function<void(ChildOutput*)>& work,
                    const std::function<Status(ChildInput*)>& receive);

}  // namespace sparsenet::converter

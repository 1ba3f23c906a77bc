// What a kernel in a cubin takes of a multiprocessor, read from the sections of the file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fake {

struct KernelUse {
  std::string name;
  uint32_t registers = 0;     // of a thread
  uint64_t shared_bytes = 0;  // of a group
  uint32_t local_bytes = 0;   // of a thread: what did not fit in registers, and arrays that are indexed
};

// Returns whether the bytes are a cubin with kernels.
bool read_cubin(const std::vector<uint8_t>& cubin, std::vector<KernelUse>* kernels);

}  // namespace fake

// OpenClRunner: memory and kernels of the fake driver, on the first OpenCL device that there is. It lives until
// the program ends, and is not for several threads at once.
#pragma once

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace fake {

// Errors are texts; an empty one means that all is well.
class OpenClRunner {
 public:
  std::string open();

  // Memory is filled with 0xff, so that what nobody has written shows: as float32 and float16 it is NaN.
  std::string allocate(size_t bytes, cl_mem* memory);
  static void release(cl_mem memory);
  std::string write(cl_mem memory, size_t offset, const void* from, size_t bytes);
  std::string read(cl_mem memory, size_t offset, void* to, size_t bytes);
  std::string copy(cl_mem to, size_t to_offset, cl_mem from, size_t from_offset, size_t bytes);
  std::string fill(cl_mem memory, size_t offset, uint8_t value, size_t bytes);

  // Programs are kept until the end, so that one source is compiled once however often it is loaded.
  std::string build(const std::string& source, const std::string& macros, cl_program* program);

  struct Kernel {
    cl_kernel handle = nullptr;
    std::array<size_t, 3> group{};  // that it was compiled for
    size_t local_bytes = 0;
  };
  // Checks that it has the four parameters that all kernels have. `is_missing`: the program has no such kernel.
  std::string find(cl_program program, const std::string& entry, Kernel* kernel, bool* is_missing);
  // Null memory is a null pointer.
  std::string run(const Kernel& kernel, const std::array<cl_mem, 3>& memory, const std::vector<uint8_t>& params,
                  const std::array<size_t, 3>& groups);

 private:
  cl_device_id device_ = nullptr;
  cl_context context_ = nullptr;
  cl_command_queue queue_ = nullptr;
  std::map<std::string, cl_program> programs_;
};

}  // namespace fake

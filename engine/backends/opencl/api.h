// The functions of OpenCL, which are looked up when the plugin runs: it starts on machines without OpenCL, too.
#pragma once

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include <string>
#include <utility>

#include "backends/gpu/device.h"

namespace sparsenet::opencl {

using gpu::Outcome;

// Those that the plugin calls, without the "cl" that their names begin with.
// clang-format off
#define SPARSENET_OPENCL_FUNCTIONS(F)                                                                            \
  F(GetPlatformIDs) F(GetPlatformInfo) F(GetDeviceIDs) F(GetDeviceInfo) F(CreateContext) F(ReleaseContext)       \
  F(CreateCommandQueue) F(ReleaseCommandQueue) F(CreateBuffer) F(ReleaseMemObject) F(GetMemObjectInfo)           \
  F(CreateProgramWithSource) F(CreateProgramWithBinary) F(BuildProgram) F(GetProgramInfo) F(GetProgramBuildInfo) \
  F(ReleaseProgram) F(CreateKernel) F(ReleaseKernel) F(SetKernelArg) F(GetKernelWorkGroupInfo)                   \
  F(EnqueueWriteBuffer) F(EnqueueReadBuffer) F(EnqueueCopyBuffer) F(EnqueueFillBuffer) F(EnqueueMapBuffer)       \
  F(EnqueueUnmapMemObject) F(EnqueueNDRangeKernel) F(GetEventProfilingInfo) F(ReleaseEvent) F(Flush) F(Finish)
// clang-format on

struct Api {
#define SPARSENET_OPENCL_MEMBER(name) decltype(&::cl##name) name = nullptr;
  SPARSENET_OPENCL_FUNCTIONS(SPARSENET_OPENCL_MEMBER)
#undef SPARSENET_OPENCL_MEMBER
};

// Loads OpenCL once, and leaves it loaded. SNP_NO_DEVICE if it is not installed.
Outcome load_api(const Api** api);

// The outcome of a call that returned `code`: "clFinish failed: CL_OUT_OF_RESOURCES (-5)".
Outcome outcome_of(cl_int code, const char* call);

// What the calls return, by the name of the error.
std::string error_name(cl_int code);

// Something that a call releases.
template <class Handle>
class Owned {
 public:
  using Release = cl_int(CL_API_CALL*)(Handle);
  Owned() = default;
  Owned(Handle handle, Release release) : handle_(handle), release_(release) {}
  Owned(Owned&& other) noexcept : handle_(other.handle_), release_(other.release_) { other.handle_ = nullptr; }
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(release_, other.release_);
    return *this;
  }
  ~Owned() {
    if (handle_) release_(handle_);
  }
  Handle get() const { return handle_; }
  explicit operator bool() const { return handle_ != nullptr; }

 private:
  Handle handle_ = nullptr;
  Release release_ = nullptr;
};

}  // namespace sparsenet::opencl

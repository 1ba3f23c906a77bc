// What the plugin uses of the CUDA driver, declared from its documented binary interface: building needs no toolkit,
// and libcuda.so.1, which comes with the driver, is opened when it is first needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "backends/gpu/device.h"

namespace sparsenet::gpu::cuda {

using Result = int;        // CUresult
using DeviceNumber = int;  // CUdevice
using DevicePointer = unsigned long long;
using ContextHandle = struct ContextObject*;
using ModuleHandle = struct ModuleObject*;
using FunctionHandle = struct FunctionObject*;
using StreamHandle = struct StreamObject*;
using EventHandle = struct EventObject*;
using GraphHandle = struct GraphObject*;
using GraphExecHandle = struct GraphExecObject*;

// Of CUresult: those that the plugin tells apart.
constexpr Result kSuccess = 0;
constexpr Result kOutOfMemory = 2;
constexpr Result kStubLibrary = 34;
constexpr Result kNoDevice = 100;
constexpr Result kInvalidImage = 200;
constexpr Result kNoBinaryForGpu = 209;
constexpr Result kInvalidPtx = 218;
constexpr Result kUnsupportedPtxVersion = 222;
constexpr Result kIllegalAddress = 700;
constexpr Result kLaunchOutOfResources = 701;
constexpr Result kLaunchTimeout = 702;
constexpr Result kFirstDeviceFault = 714;  // up to kLastDeviceFault: the context is lost
constexpr Result kLastDeviceFault = 719;
constexpr Result kSystemDriverMismatch = 803;

// Of CUdevice_attribute.
enum Attribute : int {
  kMaxThreadsPerBlock = 1,
  kMaxSharedMemoryPerBlock = 8,
  kWarpSize = 10,
  kMultiprocessorCount = 16,
  kComputeCapabilityMajor = 75,
  kComputeCapabilityMinor = 76,
};

constexpr unsigned kStreamNonBlocking = 1;
constexpr int kCaptureThreadLocal = 1;

// Names as the library exports them: a suffix tells the version of the interface. The newest are those of CUDA 11.4.
#define SPARSENET_CUDA_FUNCTIONS(X)                                                                                  \
  X(cuInit, (unsigned flags))                                                                                        \
  X(cuDriverGetVersion, (int* version))                                                                              \
  X(cuGetErrorName, (Result error, const char** text))                                                               \
  X(cuGetErrorString, (Result error, const char** text))                                                             \
  X(cuDeviceGetCount, (int* count))                                                                                  \
  X(cuDeviceGet, (DeviceNumber * device, int ordinal))                                                               \
  X(cuDeviceGetName, (char* name, int capacity, DeviceNumber device))                                                \
  X(cuDeviceGetAttribute, (int* value, Attribute attribute, DeviceNumber device))                                    \
  X(cuDeviceTotalMem_v2, (size_t * bytes, DeviceNumber device))                                                      \
  X(cuDevicePrimaryCtxRetain, (ContextHandle * context, DeviceNumber device))                                        \
  X(cuDevicePrimaryCtxRelease_v2, (DeviceNumber device))                                                             \
  X(cuCtxPushCurrent_v2, (ContextHandle context))                                                                    \
  X(cuCtxPopCurrent_v2, (ContextHandle * context))                                                                   \
  X(cuMemAlloc_v2, (DevicePointer * pointer, size_t bytes))                                                          \
  X(cuMemFree_v2, (DevicePointer pointer))                                                                           \
  X(cuMemcpyHtoDAsync_v2, (DevicePointer to, const void* from, size_t bytes, StreamHandle stream))                   \
  X(cuMemcpyDtoHAsync_v2, (void* to, DevicePointer from, size_t bytes, StreamHandle stream))                         \
  X(cuMemcpyDtoDAsync_v2, (DevicePointer to, DevicePointer from, size_t bytes, StreamHandle stream))                 \
  X(cuMemsetD8Async, (DevicePointer to, unsigned char value, size_t bytes, StreamHandle stream))                     \
  X(cuModuleLoadData, (ModuleHandle * module, const void* image))                                                    \
  X(cuModuleUnload, (ModuleHandle module))                                                                           \
  X(cuModuleGetFunction, (FunctionHandle * function, ModuleHandle module, const char* name))                         \
  X(cuLaunchKernel,                                                                                                  \
    (FunctionHandle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, \
     unsigned block_z, unsigned shared_bytes, StreamHandle stream, void** arguments, void** extra))                  \
  X(cuStreamCreate, (StreamHandle * stream, unsigned flags))                                                         \
  X(cuStreamDestroy_v2, (StreamHandle stream))                                                                       \
  X(cuStreamSynchronize, (StreamHandle stream))                                                                      \
  X(cuStreamBeginCapture_v2, (StreamHandle stream, int mode))                                                        \
  X(cuStreamEndCapture, (StreamHandle stream, GraphHandle * graph))                                                  \
  X(cuGraphInstantiateWithFlags, (GraphExecHandle * exec, GraphHandle graph, unsigned long long flags))              \
  X(cuGraphLaunch, (GraphExecHandle exec, StreamHandle stream))                                                      \
  X(cuGraphDestroy, (GraphHandle graph))                                                                             \
  X(cuGraphExecDestroy, (GraphExecHandle exec))                                                                      \
  X(cuEventCreate, (EventHandle * event, unsigned flags))                                                            \
  X(cuEventDestroy_v2, (EventHandle event))                                                                          \
  X(cuEventRecord, (EventHandle event, StreamHandle stream))                                                         \
  X(cuEventElapsedTime, (float* milliseconds, EventHandle from, EventHandle to))

struct DriverApi {
#define SPARSENET_CUDA_MEMBER(name, parameters) Result(*name) parameters = nullptr;
  SPARSENET_CUDA_FUNCTIONS(SPARSENET_CUDA_MEMBER)
#undef SPARSENET_CUDA_MEMBER

  // Opens the library and finds all functions. It stays open: drivers do not expect to be unloaded.
  Outcome open();

  // What a result means, in one line: the call, what it was for (may be empty), the error, and the way out.
  Outcome check(Result result, const char* call, const std::string& purpose = "") const;
};

}  // namespace sparsenet::gpu::cuda

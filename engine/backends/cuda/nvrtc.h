// Nvrtc: NVIDIA's run-time compiler of CUDA C++, opened when it is first needed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backends/gpu/device.h"

namespace sparsenet::gpu::cuda {

#define SPARSENET_NVRTC_FUNCTIONS(X)                                                                     \
  X(nvrtcVersion, (int* major, int* minor))                                                              \
  X(nvrtcGetNumSupportedArchs, (int* count))                                                             \
  X(nvrtcGetSupportedArchs, (int* architectures))                                                        \
  X(nvrtcCreateProgram, (NvrtcProgram * program, const char* source, const char* name, int header_count, \
                         const char* const* headers, const char* const* include_names))                  \
  X(nvrtcDestroyProgram, (NvrtcProgram * program))                                                       \
  X(nvrtcCompileProgram, (NvrtcProgram program, int option_count, const char* const* options))           \
  X(nvrtcGetProgramLogSize, (NvrtcProgram program, size_t * bytes))                                      \
  X(nvrtcGetProgramLog, (NvrtcProgram program, char* log))                                               \
  X(nvrtcGetCUBINSize, (NvrtcProgram program, size_t * bytes))                                           \
  X(nvrtcGetCUBIN, (NvrtcProgram program, char* cubin))                                                  \
  X(nvrtcGetPTXSize, (NvrtcProgram program, size_t * bytes))                                             \
  X(nvrtcGetPTX, (NvrtcProgram program, char* ptx))

using NvrtcProgram = struct NvrtcProgramObject*;

class Nvrtc {
 public:
  // Looks for the library under the name in the environment variable SPARSENET_NVRTC, if that is set; otherwise under
  // the names of the releases, those of the driver's CUDA version and older ones first: a driver runs the code of older
  // compilers, but not always that of later ones. `driver`: 1000 * major + 10 * minor.
  Outcome open(int driver);
  // The same for a file of a given name.
  Outcome open_file(const std::string& name);

  int version() const { return version_; }  // 1000 * major + 10 * minor
  const std::vector<int>& architectures() const { return architectures_; }

  // What to compile for a compute capability (90 for 9.0): machine code if the compiler knows it, otherwise PTX of the
  // latest one that it knows, which the driver compiles.
  struct Target {
    std::string option;  // "--gpu-architecture=sm_90"
    bool binary = true;
  };
  Outcome target_for(int compute_capability, Target* target) const;

  // Compiles a source with macros as in KernelName. May be called from several threads at once.
  Outcome compile(const std::string& name, const char* source, const std::string& defines, const Target& target,
                  std::vector<uint8_t>* image) const;

  // All options but the target's and the macros.
  static const std::vector<const char*>& options();

 private:
#define SPARSENET_NVRTC_MEMBER(name, parameters) int(*name) parameters = nullptr;
  SPARSENET_NVRTC_FUNCTIONS(SPARSENET_NVRTC_MEMBER)
#undef SPARSENET_NVRTC_MEMBER
  const char* (*nvrtcGetErrorString)(int result) = nullptr;

  Outcome check(int result, const char* call, const std::string& purpose) const;

  int version_ = 0;
  std::vector<int> architectures_;  // in ascending order
};

}  // namespace sparsenet::gpu::cuda

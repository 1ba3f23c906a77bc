// Compiles several files of kernels at a time, or takes them from the cache on disk.
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/nvrtc.h"

namespace sparsenet::gpu::cuda {

struct CompileJob {
  std::string file, defines;   // as in KernelName
  std::vector<uint8_t> image;  // the result: what the driver loads
  Outcome outcome;
};

// Returns the failure of the first job that failed.
Outcome compile_all(const Nvrtc& nvrtc, const Nvrtc::Target& target, const std::string& cache_folder,
                    std::vector<CompileJob>* jobs);

}  // namespace sparsenet::gpu::cuda

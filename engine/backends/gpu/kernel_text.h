// The files of kernels/, which embed_kernels.cmake makes a source of.
#pragma once

#include <cstddef>

namespace sparsenet::gpu {

struct KernelText {
  const char* name;  // "common.cl"
  const char* text;
};

extern const KernelText kKernelFiles[];
extern const size_t kKernelFileCount;

}  // namespace sparsenet::gpu

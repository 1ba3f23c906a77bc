// The files of kernels/, which embed_kernels.cmake makes a source of.
#pragma once

#include <cstddef>

namespace sparsenet::gpu {

struct KernelText {
  const char* name;  // of a .cl file without its ending; of a header in full
  const char* text;
};

extern const KernelText kKernelHeaders[];  // in the order in which kernels need them
extern const size_t kKernelHeaderCount;
extern const KernelText kKernelFiles[];
extern const size_t kKernelFileCount;

}  // namespace sparsenet::gpu

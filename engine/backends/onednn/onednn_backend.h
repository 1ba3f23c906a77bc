// The oneDNN backend: convolutions and pools as oneDNN primitives, made once in prepare; every other step goes to
// the portable kernels.
//
// A session with this backend has only one kind of threads: OpenMP's, which oneDNN uses. The chunks of our own kernels
// run on them as well.
#pragma once

#include <string>

#include "runtime/kernel.h"

namespace sparsenet {

namespace rt {
extern const Kernel* const kOneDnnKernels[];  // terminated by null
}

namespace onednn {
extern const rt::Kernel kConvolution;
extern const rt::Kernel kPooling;

// oneDNN's own name for the implementation that a convolution step gets ("jit:avx512_core"); empty if the backend
// leaves the step to other kernels.
std::string convolution_implementation(const rt::Step& step);
}  // namespace onednn

// Sets the number of OpenMP threads that the calling thread starts. To be called before kernels are asked what they
// need, and before every run, because primitives are made for a number of threads. Returns null, or why it cannot be
// done: in the child of a fork, OpenMP would wait forever for threads that only the parent has.
const char* onednn_begin_run(int threads);
// How oneDNN has failed on the calling thread since onednn_begin_run() or the last call of this function: null if it
// has not, rt::kNoMemory, or another message.
const char* onednn_end_run();
void onednn_note_failure(bool no_memory);
// If `on`, denormals count as zero on the OpenMP threads until the next call, which restores their modes; see
// denormals.h. To be called before the calling thread's own mode changes and after it is restored, because threads
// begin with the mode of the thread that starts them.
void onednn_flush_denormals(bool on);

// rt::ThreadHook over the OpenMP threads.
void onednn_parallel(void* self, int32_t chunks, void (*function)(void* context, int32_t chunk, int32_t thread),
                     void* context);

}  // namespace sparsenet

// The oneDNN backend: convolutions and pools as oneDNN primitives, made once in prepare; every other step goes to
// the portable kernels.
//
// Such a session has one kind of threads, OpenMP's, which oneDNN uses: our own kernels' chunks are handed to them as
// well.
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

// oneDNN's own name of the implementation that a convolution step gets ("jit:avx512_core"); empty where the backend
// leaves the step to others.
std::string convolution_implementation(const rt::Step& step);
}  // namespace onednn

// Sets the number of OpenMP threads that the calling thread starts. Before kernels are asked what they need, and before
// every run: primitives are made for a number of threads. Returns null, or why it cannot be done: OpenMP waits for ever
// for threads that only the parent of a forked process has.
const char* onednn_begin_run(int threads);
// Whether oneDNN has failed on the calling thread since the last call, and how: null, rt::kNoMemory or another message.
const char* onednn_end_run();
void onednn_note_failure(bool no_memory);
// Denormals count as zero on those threads from `on` until the next call, which sets their modes back; see denormals.h.
// To be called before and after the calling thread's own mode changes: threads begin with the mode of the one that
// starts them.
void onednn_flush_denormals(bool on);

// rt::ThreadHook over the OpenMP threads.
void onednn_parallel(void* self, int32_t chunks, void (*function)(void* context, int32_t chunk, int32_t thread),
                     void* context);

}  // namespace sparsenet

// The table of backends that steps can be bound to in this process: for each, the kernel lists in the order in which
// they are tried.
#pragma once

#include <sparsenet/session.h>

#include <string>

#include "runtime/kernel.h"

namespace sparsenet {

constexpr int32_t kMaxKernelLists = 3;  // of a backend
constexpr int32_t kMaxOptionLists = 2;  // before them, if options call for other kernels: bfloat16, large weights

struct BackendEntry {
  Backend backend;
  const char* name;
  // Fills in the lists (each terminated by null) and returns how many; null: the backend is not in this build.
  int32_t (*kernel_lists)(const rt::Kernel* const** lists);
  // Null, or called on the calling thread before and after each run; begin_run also while a session is made. They
  // return null, or a message with static storage that says what is wrong.
  const char* (*begin_run)(int threads);
  const char* (*end_run)();
  void (*flush_denormals)(bool on);  // null, or sets the mode of this backend's own threads
  // Null: our thread pool runs the chunks of steps. Otherwise, runs them on this backend's own threads.
  void (*parallel)(void* self, int32_t chunks, void (*function)(void* context, int32_t chunk, int32_t thread),
                   void* context);
};

const BackendEntry* find_backend(Backend backend);  // null if it is not in this build, or a plugin
std::string available_backends();                   // "auto, portable, onednn, reference"

// kUnsupported, with what is missing, if this build or CPU cannot compute in it.
Status check_precision(Precision precision);

}  // namespace sparsenet

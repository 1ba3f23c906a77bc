// HookedThreads: the caller's pool of threads (ThreadHook), guarded: see hook_guard.h.
#pragma once

#include <sparsenet/session.h>

#include <memory>

#include "runtime/hook_guard.h"

namespace sparsenet {

// kInvalidArgument where a hook is given and is none.
Status check_hook(const ThreadHook& hook);

class HookedThreads {
 public:
  // For steps that are cut into at most so many chunks.
  HookedThreads(const ThreadHook& hook, int32_t most_chunks, bool flush_denormals);
  HookedThreads(const HookedThreads&) = delete;
  HookedThreads& operator=(const HookedThreads&) = delete;

  // How bound steps reach them.
  rt::ThreadHook handle() { return guard_.handle(); }
  // kInvalidArgument where the pool has broken a promise since the last call.
  Status take();

 private:
  ThreadHook hook_;
  std::unique_ptr<uint32_t[]> memory_;
  rt::HookGuard guard_;
};

}  // namespace sparsenet

// HookedThreads: the caller's pool of threads (ThreadHook), with a guard that checks what it does; see hook_guard.h.
#pragma once

#include <sparsenet/session.h>

#include <memory>

#include "runtime/hook_guard.h"

namespace sparsenet {

// kInvalidArgument if a hook is given that cannot work: a wrong number of threads, or no function.
Status check_hook(const ThreadHook& hook);

class HookedThreads {
 public:
  // `most_chunks`: the most chunks that any step is divided into.
  HookedThreads(const ThreadHook& hook, int32_t most_chunks, bool flush_denormals);
  HookedThreads(const HookedThreads&) = delete;
  HookedThreads& operator=(const HookedThreads&) = delete;

  // What bound steps call to reach these threads.
  rt::ThreadHook handle() { return guard_.handle(); }
  // kInvalidArgument if the pool has broken a rule since the last call.
  Status take();

 private:
  ThreadHook hook_;
  std::unique_ptr<uint32_t[]> memory_;
  rt::HookGuard guard_;
};

}  // namespace sparsenet

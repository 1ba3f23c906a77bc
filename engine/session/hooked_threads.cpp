#include "session/hooked_threads.h"

#include <string>

namespace sparsenet {

Status check_hook(const ThreadHook& hook) {
  if (hook.threads == 0 && !hook.parallel) return {};
  if (hook.threads < 1 || hook.threads > 1024) {
    return invalid_argument("thread hook: expected 1 to 1024 threads, found " + std::to_string(hook.threads));
  }
  return hook.threads == 1 || hook.parallel
             ? Status()
             : invalid_argument("thread hook: expected a function that runs chunks, found none");
}

HookedThreads::HookedThreads(const ThreadHook& hook, int32_t most_chunks, bool flush_denormals)
    : hook_(hook),
      memory_(new uint32_t[static_cast<size_t>(rt::HookGuard::bytes(hook.threads, most_chunks)) / sizeof(uint32_t)]()) {
  // Bound steps are compiled without exceptions, so what the pool throws is caught here.
  const auto call = [](void* self, int32_t chunks, void (*function)(void*, int32_t, int32_t), void* context) {
    auto& mine = *static_cast<HookedThreads*>(self);
    try {
      mine.hook_.parallel(mine.hook_.self, chunks, function, context);
    } catch (...) {
      mine.guard_.note(rt::Misuse::kException);
    }
  };
  guard_.init({call, this, hook.threads}, most_chunks, flush_denormals, memory_.get());
}

Status HookedThreads::take() {
  const rt::Misuse misuse = guard_.take();
  return misuse == rt::Misuse::kNone ? Status() : invalid_argument(std::string("thread hook: ") + rt::text(misuse));
}

}  // namespace sparsenet

// HookGuard: stands between bound steps and a caller's pool of threads, and holds the pool to its promises (see
// ThreadHook in sparsenet/session.h). Whatever the pool does, every chunk is run exactly once, no two at a time use the
// same thread's scratch, and nothing runs any more when a step is over; the first promise that was broken is kept until
// somebody asks. It lives in memory of others and does without a heap.
#pragma once

#include "runtime/bound_steps.h"

namespace sparsenet::rt {

enum class Misuse : uint32_t {
  kNone = 0,
  kNoSuchChunk,
  kNoSuchThread,
  kSameThread,  // at the same time
  kTwice,
  kAfterReturn,
  kLeftOut,
  kException,
};
// "called with a chunk that there is not"; static storage.
const char* text(Misuse misuse);

class HookGuard {
 public:
  // Zeroed memory for one with so many threads, for steps of at most so many chunks; aligned to 4.
  static uint64_t bytes(int32_t threads, int32_t most_chunks) {
    return (static_cast<uint64_t>(threads) + static_cast<uint64_t>(most_chunks)) * sizeof(uint32_t);
  }
  void init(const ThreadHook& pool, int32_t most_chunks, bool flush_denormals, void* memory);
  // How bound steps reach the pool through this guard, which must not move.
  ThreadHook handle() { return {run, this, pool_.threads}; }

  void note(Misuse misuse);  // kept unless there is one already
  // What was noted since the last call; from the next step on the pool is used again.
  Misuse take();

 private:
  // What the pool gets as `context`. A late call has that of an earlier step, by which it is told: one stays as it is
  // for so many steps. (A later one is taken for a call of the step under way, and does no harm as such.)
  static constexpr uint32_t kTickets = 64;
  struct Ticket {
    HookGuard* guard;
    uint32_t step;
  };

  static void run(void* self, int32_t chunks, void (*function)(void*, int32_t, int32_t), void* context);
  static void enter(void* ticket, int32_t chunk, int32_t thread);
  void run_chunk(int32_t chunk, int32_t thread);

  ThreadHook pool_;
  bool flush_;
  uint32_t* busy_;  // of each thread: 1 while it runs a chunk
  uint32_t* done_;  // of each chunk: the last step in which it was begun
  uint32_t step_;   // the last that began
  uint32_t open_;   // the step whose chunks may be run; 0: none
  uint32_t active_, finished_;
  uint32_t misuse_;
  int32_t chunks_;
  void (*function_)(void*, int32_t, int32_t);
  void* context_;
  Ticket tickets_[kTickets];
};

}  // namespace sparsenet::rt

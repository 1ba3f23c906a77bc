// HookGuard: stands between bound steps and a caller's pool of threads, and enforces the rules for such a pool (see
// ThreadHook in sparsenet/session.h). Whatever the pool does, every chunk is run exactly once, no two chunks use the
// same thread's scratch at the same time, and nothing of a step runs after its end. The first rule that was broken is
// remembered until take() asks for it. The guard uses memory that its owner provides, and no heap.
#pragma once

#include "runtime/bound_steps.h"

namespace sparsenet::rt {

enum class Misuse : uint32_t {
  kNone = 0,
  kNoSuchChunk,
  kNoSuchThread,
  kSameThread,  // in two calls at the same time
  kTwice,
  kAfterReturn,
  kLeftOut,
  kException,
};
// The rule that was broken, as in "expected one call for every chunk, found a second one"; static storage.
const char* text(Misuse misuse);

class HookGuard {
 public:
  // The size of the memory that init() needs for `threads` threads and steps of at most `most_chunks` chunks. It must
  // be zeroed and aligned to 4 bytes.
  static uint64_t bytes(int32_t threads, int32_t most_chunks) {
    return (static_cast<uint64_t>(threads) + static_cast<uint64_t>(most_chunks)) * sizeof(uint32_t);
  }
  void init(const ThreadHook& pool, int32_t most_chunks, bool flush_denormals, void* memory);
  // The hook through which bound steps reach the pool. It points to this guard, which must not move.
  ThreadHook handle() { return {run, this, pool_.threads}; }

  void note(Misuse misuse);  // ignored if another one is already noted
  // Returns what was noted since the last call; from the next step on the pool is used again.
  Misuse take();

 private:
  // What the pool gets as `context`. A late call is recognised by its ticket, which is that of an earlier step. Tickets
  // are reused after this many steps. (A call that is even later counts as one of the step under way, in which it does
  // no harm.)
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
  uint32_t* busy_;              // per thread: 1 while it runs a chunk
  uint32_t* done_;              // per chunk: the last step in which it was begun
  uint32_t step_;               // the number of the last step that began
  uint32_t open_;               // the step whose chunks may be run; 0: none
  uint32_t active_, finished_;  // calls under way; chunks that this step has finished
  uint32_t misuse_;
  int32_t chunks_;
  void (*function_)(void*, int32_t, int32_t);
  void* context_;
  Ticket tickets_[kTickets];
};

}  // namespace sparsenet::rt

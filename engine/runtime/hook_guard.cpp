#include "runtime/hook_guard.h"

#include "runtime/denormals.h"

namespace sparsenet::rt {
namespace {

// Compiler built-ins instead of <atomic>, because the words lie in zeroed memory that the caller provides. A CPU
// without atomic instructions (Cortex-M0) has a single core, so plain loads and stores take their place.
#if defined(__GCC_HAVE_SYNC_COMPARE_AND_SWAP_4)
inline uint32_t load(const uint32_t* word) {
  return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}
inline void store(uint32_t* word, uint32_t value) {
  __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}
inline uint32_t exchange(uint32_t* word, uint32_t value) {
  return __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);
}
inline void add(uint32_t* word, uint32_t value) {
  (void)__atomic_fetch_add(word, value, __ATOMIC_SEQ_CST);
}
#else
inline uint32_t load(const volatile uint32_t* word) {
  return *word;
}
inline void store(volatile uint32_t* word, uint32_t value) {
  *word = value;
}
inline uint32_t exchange(volatile uint32_t* word, uint32_t value) {
  const uint32_t before = *word;
  *word = value;
  return before;
}
inline void add(volatile uint32_t* word, uint32_t value) {
  *word = *word + value;
}
#endif

}  // namespace

const char* text(Misuse misuse) {
  switch (misuse) {
    case Misuse::kNone:
      break;
    case Misuse::kNoSuchChunk:
      return "expected chunks from 0 to one less than their number, found another";
    case Misuse::kNoSuchThread:
      return "expected threads from 0 to one less than their number, found another";
    case Misuse::kSameThread:
      return "expected one call at a time with the same thread, found two";
    case Misuse::kTwice:
      return "expected one call for every chunk, found a second one";
    case Misuse::kAfterReturn:
      return "expected no call for a chunk after the return, found one";
    case Misuse::kLeftOut:
      return "expected one call for every chunk, found that one was left out";
    case Misuse::kException:
      return "expected a return when all chunks are done, found an exception";
  }
  return "";
}

void HookGuard::init(const ThreadHook& pool, int32_t most_chunks, bool flush_denormals, void* memory) {
  *this = {};
  pool_ = pool;
  flush_ = flush_denormals;
  done_ = static_cast<uint32_t*>(memory);
  busy_ = done_ + most_chunks;
  for (Ticket& ticket : tickets_) ticket.guard = this;
}

void HookGuard::note(Misuse misuse) {
  // If two threads note something at the same time, either may count as the first.
  if (load(&misuse_) == 0) store(&misuse_, static_cast<uint32_t>(misuse));
}

Misuse HookGuard::take() {
  return static_cast<Misuse>(exchange(&misuse_, 0));
}

void HookGuard::run_chunk(int32_t chunk, int32_t thread) {
  if (chunk < 0 || chunk >= chunks_) return note(Misuse::kNoSuchChunk);
  if (thread < 0 || thread >= pool_.threads) return note(Misuse::kNoSuchThread);
  if (exchange(&busy_[thread], 1) != 0) return note(Misuse::kSameThread);
  if (exchange(&done_[chunk], step_) == step_) {
    note(Misuse::kTwice);
  } else {
    const FlushDenormals flush(flush_);
    function_(context_, chunk, thread);
    add(&finished_, 1);
  }
  store(&busy_[thread], 0);
}

void HookGuard::enter(void* ticket, int32_t chunk, int32_t thread) {
  const Ticket& mine = *static_cast<const Ticket*>(ticket);
  HookGuard& guard = *mine.guard;
  // As long as active_ is not 0, run() does not end its step, so the other members stay as they are.
  add(&guard.active_, 1);
  if (load(&guard.open_) == load(&mine.step)) {
    guard.run_chunk(chunk, thread);
  } else {
    guard.note(Misuse::kAfterReturn);
  }
  add(&guard.active_, UINT32_MAX);
}

void HookGuard::run(void* self, int32_t chunks, void (*function)(void*, int32_t, int32_t), void* context) {
  HookGuard& guard = *static_cast<HookGuard*>(self);
  // A pool that has broken a rule is not used again until take() has reported it.
  if (load(&guard.misuse_) != 0) {
    for (int32_t chunk = 0; chunk < chunks; ++chunk) function(context, chunk, 0);
    return;
  }
  if (++guard.step_ == 0) guard.step_ = 1;  // 0 stands for none
  guard.chunks_ = chunks;
  guard.function_ = function;
  guard.context_ = context;
  store(&guard.finished_, 0);
  Ticket& ticket = guard.tickets_[guard.step_ % kTickets];
  store(&ticket.step, guard.step_);
  store(&guard.open_, guard.step_);
  guard.pool_.parallel(guard.pool_.self, chunks, enter, &ticket);
  store(&guard.open_, 0);
  while (load(&guard.active_) != 0) {
  }
  if (load(&guard.finished_) == static_cast<uint32_t>(chunks)) return;
  guard.note(Misuse::kLeftOut);
  for (int32_t chunk = 0; chunk < chunks; ++chunk) {
    if (guard.done_[chunk] != guard.step_) function(context, chunk, 0);
  }
}

}  // namespace sparsenet::rt

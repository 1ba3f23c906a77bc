// The OpenMP threads of the oneDNN backend: their number, their mode for denormals, and chunks of our kernels on them.
#include <omp.h>

#include <atomic>

#include "backends/onednn/onednn_backend.h"
#include "base/forks.h"
#include "runtime/denormals.h"

// ThreadSanitizer does not see the barriers of a libgomp that was built without it. These macros tell it what the
// barriers order: what precedes a loop happens before every chunk, and every chunk before what follows the loop. So the
// chunks themselves are checked (toolchains/tsan.supp need not hide them).
#if defined(__SANITIZE_THREAD__)
#define SPARSENET_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SPARSENET_TSAN 1
#endif
#endif
#if defined(SPARSENET_TSAN)
#include <sanitizer/tsan_interface.h>
#define SPARSENET_HAPPENS_BEFORE(tag) __tsan_release(tag)
#define SPARSENET_HAPPENS_AFTER(tag) __tsan_acquire(tag)
#else
#define SPARSENET_HAPPENS_BEFORE(tag) (void)(tag)
#define SPARSENET_HAPPENS_AFTER(tag) (void)(tag)
#endif

namespace sparsenet {
namespace {

// 1 + the fork generation in which OpenMP first got several threads; 0: it has none yet.
std::atomic<uint32_t> threads_since{0};

thread_local const char* failure = nullptr;
thread_local uint32_t mode_before = 0;

}  // namespace

const char* onednn_begin_run(int threads) {
  failure = nullptr;
  if (threads > 1) {
    (void)watch_forks();
    const uint32_t now = fork_generation() + 1;
    uint32_t since = 0;
    if (!threads_since.compare_exchange_strong(since, now, std::memory_order_relaxed) && since != now) {
      return "oneDNN's threads do not survive a fork: expected 1 thread in the child, or another backend";
    }
  }
  if (omp_get_max_threads() != threads) omp_set_num_threads(threads);
  return nullptr;
}

const char* onednn_end_run() {
  const char* message = failure;
  failure = nullptr;
  return message;
}

void onednn_note_failure(bool no_memory) {
  if (!failure) failure = no_memory ? rt::kNoMemory : "oneDNN failed to run a primitive";
}

void onednn_flush_denormals(bool on) {
  // If there is only the calling thread, its mode is set elsewhere (BoundSteps::execute), and no parallel region is
  // needed; gather() in common.cpp says why it is avoided.
  if (rt::kFlushBits == 0 || omp_get_max_threads() == 1) return;
  char begun = 0, done = 0;  // as in onednn_parallel
  char *const begun_at = &begun, *const done_at = &done;
  SPARSENET_HAPPENS_BEFORE(begun_at);
#pragma omp parallel
  {
    SPARSENET_HAPPENS_AFTER(begun_at);
    if (on) mode_before = rt::float_mode();
    rt::set_float_mode(on ? mode_before | rt::kFlushBits : mode_before);
    SPARSENET_HAPPENS_BEFORE(done_at);
  }
  SPARSENET_HAPPENS_AFTER(done_at);
}

void onednn_parallel(void*, int32_t chunks, void (*function)(void* context, int32_t chunk, int32_t thread),
                     void* context) {
  char begun = 0, done = 0;  // the sanitizer identifies what is ordered by their addresses
  char *const begun_at = &begun, *const done_at = &done;
  SPARSENET_HAPPENS_BEFORE(begun_at);
#pragma omp parallel for schedule(static)
  for (int32_t chunk = 0; chunk < chunks; ++chunk) {
    SPARSENET_HAPPENS_AFTER(begun_at);
    function(context, chunk, omp_get_thread_num());
    SPARSENET_HAPPENS_BEFORE(done_at);
  }
  SPARSENET_HAPPENS_AFTER(done_at);
}

}  // namespace sparsenet

#include <omp.h>

#include "backends/onednn/onednn_backend.h"

// ThreadSanitizer does not see the barriers of a libgomp that was built without it. It is told what they order: what
// came before the loop happens before every chunk, and every chunk before what comes after the loop. So the chunks
// themselves are checked (toolchains/tsan.supp need not hide them).
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

void onednn_begin_run(int threads) {
  if (omp_get_max_threads() != threads) omp_set_num_threads(threads);
}

void onednn_parallel(void*, int32_t chunks, void (*function)(void* context, int32_t chunk, int32_t thread),
                     void* context) {
  char begun = 0, done = 0;  // their addresses are names for the sanitizer
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

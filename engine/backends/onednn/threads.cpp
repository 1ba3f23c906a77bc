#include <omp.h>

#include "backends/onednn/onednn_backend.h"

namespace sparsenet {

void onednn_begin_run(int threads) {
  if (omp_get_max_threads() != threads) omp_set_num_threads(threads);
}

void onednn_parallel(void*, int32_t chunks, void (*function)(void* context, int32_t chunk, int32_t thread),
                     void* context) {
#pragma omp parallel for schedule(static)
  for (int32_t chunk = 0; chunk < chunks; ++chunk) function(context, chunk, omp_get_thread_num());
}

}  // namespace sparsenet

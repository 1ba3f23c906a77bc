#include "runtime/caches.h"

namespace sparsenet::rt {

Caches caches = {32 * 1024, 1024 * 1024};

}  // namespace sparsenet::rt

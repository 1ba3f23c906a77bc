#include "runtime/caches.h"

namespace sparsenet::rt {

Caches caches = {1024 * 1024};

}  // namespace sparsenet::rt

#include "kernels/isa.h"

#if defined(__unix__)
#include <unistd.h>
#endif

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/caches.h"

namespace sparsenet::rt::compact {
extern const Kernel* const kPortableKernels[];
}

#define SPARSENET_DECLARE_ISA(isa)                                             \
  namespace rt::isa {                                                          \
  extern const Kernel* const kPortableKernels[];                               \
  double fma_peak(double seconds);                                             \
  void gather_pixels(const Gather& from, int64_t first, int count, float* to); \
  }

namespace sparsenet {

SPARSENET_DECLARE_ISA(baseline)
#if defined(SPARSENET_X86)
SPARSENET_DECLARE_ISA(avx2)
SPARSENET_DECLARE_ISA(avx512)
#endif

namespace {

bool always() {
  return true;
}
#if defined(SPARSENET_X86)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

struct Entry {
  Isa isa;
  bool (*supported)();
};

// Widest first.
const Entry kEntries[] = {
#if defined(SPARSENET_X86)
    {{"avx512", rt::avx512::kPortableKernels, rt::avx512::fma_peak, rt::avx512::gather_pixels}, has_avx512},
    {{"avx2", rt::avx2::kPortableKernels, rt::avx2::fma_peak, rt::avx2::gather_pixels}, has_avx2},
#endif
    {{"baseline", rt::baseline::kPortableKernels, rt::baseline::fma_peak, rt::baseline::gather_pixels}, always},
    // Never chosen by default: these kernels are meant for devices, and are here for those who ask for them by name.
    {{"compact", rt::compact::kPortableKernels, rt::baseline::fma_peak, rt::baseline::gather_pixels}, always},
};

const Isa& pick() {
  const char* wanted = std::getenv("SPARSENET_ISA");
  if (wanted && *wanted) {
    for (const Entry& entry : kEntries) {
      if (std::strcmp(entry.isa.name, wanted) == 0 && entry.supported()) return entry.isa;
    }
    std::fprintf(stderr, "sparsenet: SPARSENET_ISA=%s is not a name that this build and this CPU have; ignored\n",
                 wanted);
  }
  for (const Entry& entry : kEntries) {
    if (entry.supported()) return entry.isa;
  }
  return kEntries[0].isa;
}

#if defined(_SC_LEVEL2_CACHE_SIZE)
// Sizes that no core has are a mistake of the system's; from `most` on, more makes no difference.
void set_size(int name, int64_t least, int64_t most, int64_t* bytes) {
  const long found = sysconf(name);
  if (found >= least && found <= 64 * 1024 * 1024) *bytes = std::min<int64_t>(found, most);
}
#endif

void measure_caches() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  set_size(_SC_LEVEL1_DCACHE_SIZE, 8 * 1024, 64 * 1024, &rt::caches.first_level);
  set_size(_SC_LEVEL2_CACHE_SIZE, 128 * 1024, 2 * 1024 * 1024, &rt::caches.second_level);
#endif
}

}  // namespace

const Isa& active_isa() {
  static const Isa& isa = (measure_caches(), pick());
  return isa;
}

}  // namespace sparsenet

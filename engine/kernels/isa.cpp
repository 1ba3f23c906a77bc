#include "kernels/isa.h"

#if defined(__unix__)
#include <unistd.h>
#endif
#if defined(SPARSENET_X86)
#include <cpuid.h>
#endif
#if (defined(SPARSENET_HAVE_BF16) || defined(SPARSENET_HAVE_AMX_INT8)) && defined(__linux__)
#include <sys/syscall.h>
#endif
#if defined(SPARSENET_HAVE_NEON_DOT) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(SPARSENET_HAVE_NEON_DOT) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <iterator>

#include "runtime/caches.h"

namespace sparsenet::rt::compact {
extern const Kernel* const kPortableKernels[];
extern const Kernel* const kIntegerKernels[];
}  // namespace sparsenet::rt::compact

#define SPARSENET_DECLARE_ISA(isa)                                             \
  namespace rt::isa {                                                          \
  extern const Kernel* const kPortableKernels[];                               \
  extern const Kernel* const kLargeWeightKernels[];                            \
  extern const Kernel* const kIntegerKernels[];                                \
  double fma_peak(double seconds);                                             \
  void gather_pixels(const Gather& from, int64_t first, int count, float* to); \
  }

namespace sparsenet {

SPARSENET_DECLARE_ISA(baseline)
#if defined(SPARSENET_X86)
SPARSENET_DECLARE_ISA(avx2)
SPARSENET_DECLARE_ISA(avx512)
#endif
#if defined(SPARSENET_X86)
namespace rt::avx512_vnni {
extern const Kernel* const kIntegerKernels[];
}
#endif
#if defined(SPARSENET_HAVE_AMX_INT8)
namespace rt::amx_int8 {
extern const Kernel* const kIntegerTileKernels[];
}
#endif
#if defined(SPARSENET_HAVE_AVX_VNNI)
namespace rt::avx_vnni {
extern const Kernel* const kIntegerKernels[];
}
#endif
#if defined(SPARSENET_HAVE_NEON_DOT)
namespace rt::neon_dot {
extern const Kernel* const kIntegerKernels[];
}
#endif
#if defined(SPARSENET_HAVE_BF16)
namespace rt::amx {
extern const Kernel* const kBf16Kernels[];
}
namespace rt::avx512_bf16 {
extern const Kernel* const kBf16Kernels[];
}
#endif

namespace {

bool always() {
  return true;
}
#if defined(SPARSENET_X86)
unsigned cpuid_7(unsigned subleaf, int which) {  // 0: eax; 3: edx
  unsigned registers[4] = {};
  if (!__get_cpuid_count(7, subleaf, &registers[0], &registers[1], &registers[2], &registers[3])) return 0;
  return registers[which];
}

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

#define SPARSENET_ISA_ENTRY(isa, supported)                                                                     \
  {                                                                                                             \
    {#isa, rt::isa::kPortableKernels, rt::isa::kLargeWeightKernels, rt::isa::fma_peak, rt::isa::gather_pixels}, \
        supported                                                                                               \
  }

// Widest first.
const Entry kEntries[] = {
#if defined(SPARSENET_X86)
    SPARSENET_ISA_ENTRY(avx512, has_avx512),
    SPARSENET_ISA_ENTRY(avx2, has_avx2),
#endif
    SPARSENET_ISA_ENTRY(baseline, always),
    // Never chosen by default: these kernels are meant for devices, and are here for those who ask for them by name.
    {{"compact", rt::compact::kPortableKernels, nullptr, rt::baseline::fma_peak, rt::baseline::gather_pixels}, always},
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

#if defined(SPARSENET_HAVE_BF16) || defined(SPARSENET_HAVE_AMX_INT8)
// The registers of AMX are so large that Linux gives them only to processes that ask for them.
bool has_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // asm/prctl.h, asm/fpu/types.h
  return (cpuid_7(0, 3) >> 24 & 1) != 0 && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

#if defined(SPARSENET_HAVE_BF16)
bool has_avx512_bf16() {
  return (cpuid_7(1, 0) >> 5 & 1) != 0;
}

bool has_amx() {
  return (cpuid_7(0, 3) >> 22 & 1) != 0 && has_avx512_bf16() && has_tiles();
}

struct Bf16Entry {
  const char* name;
  const rt::Kernel* const* kernels;
  bool (*supported)();
};

// Fastest first.
const Bf16Entry kBf16Entries[] = {
    {"amx", rt::amx::kBf16Kernels, has_amx},
    {"avx512_bf16", rt::avx512_bf16::kBf16Kernels, has_avx512_bf16},
};

const rt::Kernel* const* pick_bf16() {
  if (std::strcmp(active_isa().name, "avx512") != 0) return nullptr;
  const char* wanted = std::getenv("SPARSENET_BF16");
  if (wanted && *wanted) {
    for (const Bf16Entry& entry : kBf16Entries) {
      if (std::strcmp(entry.name, wanted) == 0 && entry.supported()) return entry.kernels;
    }
    std::fprintf(stderr, "sparsenet: SPARSENET_BF16=%s is not a name that this build and this CPU have; ignored\n",
                 wanted);
  }
  for (const Bf16Entry& entry : kBf16Entries) {
    if (entry.supported()) return entry.kernels;
  }
  return nullptr;
}
#endif

struct IntegerEntry {
  const char* name;
  const char* isa;  // the active one that it goes with
  const rt::Kernel* const* kernels;
  bool (*supported)();
  const rt::Kernel* const* tiles = nullptr;  // to be tried before `kernels`
};

#if defined(SPARSENET_X86)
bool has_avx512_vnni() {
  return has_avx512() && __builtin_cpu_supports("avx512vnni");
}
#endif
#if defined(SPARSENET_HAVE_AMX_INT8)
bool has_amx_int8() {
  return has_avx512_vnni() && (cpuid_7(0, 3) >> 25 & 1) != 0 && has_tiles();
}
#endif
#if defined(SPARSENET_HAVE_AVX_VNNI)
bool has_avx_vnni() {
  return has_avx2() && (cpuid_7(1, 0) >> 4 & 1) != 0;
}
#endif

#if defined(SPARSENET_HAVE_NEON_DOT)
bool has_neon_dot() {
#if defined(__linux__)
  constexpr unsigned long kDotProducts = 1ul << 20;  // HWCAP_ASIMDDP of asm/hwcap.h, which older systems do not name
  return (getauxval(AT_HWCAP) & kDotProducts) != 0;
#elif defined(__APPLE__)
  int has = 0;
  size_t size = sizeof has;
  return sysctlbyname("hw.optional.arm.FEAT_DotProd", &has, &size, nullptr, 0) == 0 && has != 0;
#else
  return false;
#endif
}
#endif

// Fastest first; the last one is for every CPU.
const IntegerEntry kIntegerEntries[] = {
#if defined(SPARSENET_HAVE_AMX_INT8)
    {"amx", "avx512", rt::avx512_vnni::kIntegerKernels, has_amx_int8, rt::amx_int8::kIntegerTileKernels},
#endif
#if defined(SPARSENET_X86)
    {"avx512_vnni", "avx512", rt::avx512_vnni::kIntegerKernels, has_avx512_vnni},
    {"avx512", "avx512", rt::avx512::kIntegerKernels, has_avx512},
#if defined(SPARSENET_HAVE_AVX_VNNI)
    {"avx_vnni", "avx2", rt::avx_vnni::kIntegerKernels, has_avx_vnni},
#endif
    {"avx2", "avx2", rt::avx2::kIntegerKernels, has_avx2},
#endif
#if defined(SPARSENET_HAVE_NEON_DOT)
    {"neon_dot", "baseline", rt::neon_dot::kIntegerKernels, has_neon_dot},
#endif
#if defined(__ARM_NEON)
    {"neon", "baseline", rt::baseline::kIntegerKernels, always},
#endif
    {"compact", "compact", rt::compact::kIntegerKernels, always},
    {"baseline", "baseline", rt::baseline::kIntegerKernels, always},
};

const IntegerEntry& pick_integer() {
  const char* wanted = std::getenv("SPARSENET_INT8");
  if (wanted && *wanted) {
    for (const IntegerEntry& entry : kIntegerEntries) {
      if (std::strcmp(entry.name, wanted) == 0 && entry.supported()) return entry;
    }
    std::fprintf(stderr, "sparsenet: SPARSENET_INT8=%s is not a name that this build and this CPU have; ignored\n",
                 wanted);
  }
  for (const IntegerEntry& entry : kIntegerEntries) {
    if (std::strcmp(entry.isa, active_isa().name) == 0 && entry.supported()) return entry;
  }
  return *std::rbegin(kIntegerEntries);
}

// One list of an entry's kernels, which ends with null. (sn_prepare takes nothing from the heap.)
struct IntegerList {
  explicit IntegerList(const IntegerEntry& entry) {
    size_t count = 0;
    for (const auto* kernels : {entry.tiles, entry.kernels}) {
      for (; kernels && *kernels; ++kernels) {
        if (count == kMost) std::abort();  // a list in this build has outgrown kMost
        list[count++] = *kernels;
      }
    }
  }
  static constexpr size_t kMost = 31;
  const rt::Kernel* list[kMost + 1] = {};
};

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

const rt::Kernel* const* integer_kernels() {
  static const IntegerList list(pick_integer());
  return list.list;
}

const rt::Kernel* const* bf16_kernels() {
#if defined(SPARSENET_HAVE_BF16)
  static const rt::Kernel* const* const kernels = pick_bf16();
  return kernels;
#else
  return nullptr;
#endif
}

}  // namespace sparsenet

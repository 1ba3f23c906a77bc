// Compiles only if the plugin's declarations of the driver's and the compiler's functions are those of the toolkit's
// headers: the same number of parameters, each a pointer or a number of the same size.
#include <cuda.h>
#include <nvrtc.h>

#include <type_traits>

#include "backends/cuda/driver_api.h"
#include "backends/cuda/nvrtc.h"

namespace {

using namespace sparsenet::gpu::cuda;

template <class Ours, class Theirs>
constexpr bool is_same_parameter = std::is_pointer_v<Ours> == std::is_pointer_v<Theirs> &&
                                   sizeof(Ours) == sizeof(Theirs);

template <class Ours, class Theirs>
struct Same : std::false_type {};
template <class OurResult, class... Ours, class TheirResult, class... Theirs>
struct Same<OurResult (*)(Ours...), TheirResult (*)(Theirs...)> {
  static constexpr bool compare() {
    if constexpr (sizeof...(Ours) == sizeof...(Theirs)) {
      return sizeof(OurResult) == sizeof(TheirResult) && (is_same_parameter<Ours, Theirs> && ...);
    } else {
      return false;
    }
  }
  static constexpr bool value = compare();
};

#define SPARSENET_CHECK(name, parameters) \
  static_assert(Same<int(*) parameters, decltype(&::name)>::value, #name " is declared in another way");
SPARSENET_CUDA_FUNCTIONS(SPARSENET_CHECK)
SPARSENET_NVRTC_FUNCTIONS(SPARSENET_CHECK)

static_assert(kOutOfMemory == CUDA_ERROR_OUT_OF_MEMORY && kStubLibrary == CUDA_ERROR_STUB_LIBRARY);
static_assert(kNoDevice == CUDA_ERROR_NO_DEVICE && kInvalidImage == CUDA_ERROR_INVALID_IMAGE);
static_assert(kNoBinaryForGpu == CUDA_ERROR_NO_BINARY_FOR_GPU && kInvalidPtx == CUDA_ERROR_INVALID_PTX);
static_assert(kUnsupportedPtxVersion == CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
static_assert(kIllegalAddress == CUDA_ERROR_ILLEGAL_ADDRESS && kLaunchTimeout == CUDA_ERROR_LAUNCH_TIMEOUT);
static_assert(kLaunchOutOfResources == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
static_assert(kFirstDeviceFault == CUDA_ERROR_HARDWARE_STACK_ERROR && kLastDeviceFault == CUDA_ERROR_LAUNCH_FAILED);
static_assert(kSystemDriverMismatch == CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
static_assert(static_cast<int>(kMaxThreadsPerBlock) == CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
static_assert(static_cast<int>(kMaxSharedMemoryPerBlock) == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK);
static_assert(static_cast<int>(kWarpSize) == CU_DEVICE_ATTRIBUTE_WARP_SIZE);
static_assert(static_cast<int>(kMultiprocessorCount) == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
static_assert(static_cast<int>(kComputeCapabilityMajor) == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(static_cast<int>(kComputeCapabilityMinor) == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(static_cast<int>(kStreamNonBlocking) == CU_STREAM_NON_BLOCKING);
static_assert(kCaptureThreadLocal == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);

}  // namespace

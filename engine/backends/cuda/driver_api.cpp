#include "backends/cuda/driver_api.h"

#include <dlfcn.h>

namespace sparsenet::gpu::cuda {
namespace {

constexpr const char* kLibrary = "libcuda.so.1";

snp_status status_of(Result result) {
  switch (result) {
    case kOutOfMemory:
      return SNP_NO_MEMORY;
    case kNoDevice:
    case kStubLibrary:
    case kSystemDriverMismatch:
      return SNP_NO_DEVICE;
    default:
      return SNP_FAILED;
  }
}

const char* way_out(Result result) {
  switch (result) {
    case kOutOfMemory:
      return "; use a smaller batch or float16, or end other programs on the device";
    case kNoDevice:
      return "; nvidia-smi lists the devices, and CUDA_VISIBLE_DEVICES may hide them";
    case kStubLibrary:
      return "; the libcuda.so.1 that was found is the toolkit's stub: put the driver's in front of it in "
             "LD_LIBRARY_PATH";
    case kSystemDriverMismatch:
      return "; the driver's library and its kernel module differ: restart the machine after an update";
    case kInvalidImage:
    case kNoBinaryForGpu:
    case kInvalidPtx:
    case kUnsupportedPtxVersion:
      return "; update the driver, or name an NVRTC of the driver's CUDA version in SPARSENET_NVRTC";
    case kLaunchOutOfResources:
      return "; the kernel needs more registers or shared memory than the device has";
    default:
      break;
  }
  if (result == kIllegalAddress || result == kLaunchTimeout ||
      (result >= kFirstDeviceFault && result <= kLastDeviceFault))
    return "; the device is usable again after the program has been restarted";
  return "";
}

}  // namespace

Outcome DriverApi::open() {
  void* library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* reason = dlerror();
    return failure(SNP_NO_DEVICE, std::string("no CUDA driver: ") + (reason ? reason : kLibrary) +
                                      "; install the NVIDIA driver, or use another backend");
  }
  const char* missing = nullptr;
  const auto find = [&](const char* name) {
    void* function = dlsym(library, name);
    if (!function && !missing) missing = name;
    return function;
  };
#define SPARSENET_CUDA_FIND(name, parameters) name = reinterpret_cast<Result(*) parameters>(find(#name));
  SPARSENET_CUDA_FUNCTIONS(SPARSENET_CUDA_FIND)
#undef SPARSENET_CUDA_FIND
  if (!missing) return {};
  const std::string name = missing;
  dlclose(library);
  return failure(SNP_NO_DEVICE, std::string("the CUDA driver is too old: ") + kLibrary + " has no " + name +
                                    "; a driver for CUDA 11.4 (470.42) or later is needed");
}

Outcome DriverApi::check(Result result, const char* call, const std::string& purpose) const {
  if (result == kSuccess) return {};
  const char* name = nullptr;
  const char* text = nullptr;
  if (cuGetErrorName(result, &name) != kSuccess) name = nullptr;
  if (cuGetErrorString(result, &text) != kSuccess) text = nullptr;
  std::string message = call;
  if (!purpose.empty()) message += " (" + purpose + ")";
  message += ": " + (name ? std::string(name) : "error " + std::to_string(result));
  if (text) message += std::string(", ") + text;
  return failure(status_of(result), message + way_out(result));
}

}  // namespace sparsenet::gpu::cuda

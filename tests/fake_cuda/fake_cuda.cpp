// The fake driver's functions for devices, contexts, memory and modules. See fake_cuda.h.
#include "tests/fake_cuda/fake_cuda.h"

#include <cstring>

#include "tests/fake_cuda/call.h"
#include "tests/fake_cuda/image.h"

using namespace sparsenet::gpu::cuda;
using fake::Call;

namespace {

int device_count() {
  return static_cast<int>(fake::setting("FAKE_CUDA_DEVICES", 1));
}

int capability() {
  return static_cast<int>(fake::setting("FAKE_CUDA_CAPABILITY", 80));
}

bool is_device(int number) {
  return number >= 0 && number < device_count();
}

// Whether a device runs code compiled for "sm_80" or "compute_80".
bool runs(const std::string& target) {
  if (target.rfind("sm_", 0) == 0) return target.substr(3) == std::to_string(capability());
  return target.rfind("compute_", 0) == 0 && std::atoi(target.c_str() + 8) <= capability();
}

struct ErrorText {
  Result code;
  const char *name, *text;
};
constexpr ErrorText kErrors[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain"},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {600, "CUDA_ERROR_NOT_READY", "device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
};

const ErrorText* find_error(Result code) {
  for (const ErrorText& error : kErrors)
    if (error.code == code) return &error;
  return nullptr;
}

}  // namespace

FAKE_EXPORT Result cuInit(unsigned flags) {
  Call call("cuInit");
  if (call.injected()) return call.injected();
  if (flags != 0) return call.misused("flags are to be 0", fake::kInvalidValue);
  if (device_count() == 0) return kNoDevice;
  if (const Result result = call.books().failed(call.books().runner.open())) return result;
  call.books().is_initialized = true;
  return kSuccess;
}

FAKE_EXPORT Result cuDriverGetVersion(int* version) {
  Call call("cuDriverGetVersion");
  if (call.injected()) return call.injected();
  *version = static_cast<int>(fake::setting("FAKE_CUDA_VERSION", 12040));
  return kSuccess;
}

FAKE_EXPORT Result cuGetErrorName(Result code, const char** text) {
  Call call("cuGetErrorName");
  if (call.injected()) return call.injected();
  const ErrorText* error = find_error(code);
  *text = error ? error->name : nullptr;
  return error ? kSuccess : fake::kInvalidValue;
}

FAKE_EXPORT Result cuGetErrorString(Result code, const char** text) {
  Call call("cuGetErrorString");
  if (call.injected()) return call.injected();
  const ErrorText* error = find_error(code);
  *text = error ? error->text : nullptr;
  return error ? kSuccess : fake::kInvalidValue;
}

FAKE_EXPORT Result cuDeviceGetCount(int* count) {
  Call call("cuDeviceGetCount");
  Result result;
  if (!call.begin(&result)) return result;
  *count = device_count();
  return kSuccess;
}

FAKE_EXPORT Result cuDeviceGet(DeviceNumber* device, int ordinal) {
  Call call("cuDeviceGet");
  Result result;
  if (!call.begin(&result)) return result;
  if (!is_device(ordinal)) return call.misused("no such device", fake::kInvalidDevice);
  *device = ordinal;
  return kSuccess;
}

FAKE_EXPORT Result cuDeviceGetName(char* name, int capacity, DeviceNumber device) {
  Call call("cuDeviceGetName");
  Result result;
  if (!call.begin(&result)) return result;
  if (!is_device(device) || !name || capacity < 1)
    return call.misused("no such device or no room", fake::kInvalidValue);
  std::strncpy(name, "Fake CUDA device", static_cast<size_t>(capacity) - 1);
  name[capacity - 1] = 0;
  return kSuccess;
}

FAKE_EXPORT Result cuDeviceGetAttribute(int* value, Attribute attribute, DeviceNumber device) {
  Call call("cuDeviceGetAttribute");
  Result result;
  if (!call.begin(&result)) return result;
  if (!is_device(device)) return call.misused("no such device", fake::kInvalidDevice);
  switch (attribute) {
    case kMaxThreadsPerBlock:
      *value = 1024;
      return kSuccess;
    case kMaxSharedMemoryPerBlock:
      *value = 49152;
      return kSuccess;
    case kWarpSize:
      *value = 32;
      return kSuccess;
    case kMultiprocessorCount:
      *value = 8;
      return kSuccess;
    case kComputeCapabilityMajor:
      *value = capability() / 10;
      return kSuccess;
    case kComputeCapabilityMinor:
      *value = capability() % 10;
      return kSuccess;
  }
  return call.misused("an attribute that the fake does not have", fake::kInvalidValue);
}

FAKE_EXPORT Result cuDeviceTotalMem_v2(size_t* bytes, DeviceNumber device) {
  Call call("cuDeviceTotalMem_v2");
  Result result;
  if (!call.begin(&result)) return result;
  if (!is_device(device)) return call.misused("no such device", fake::kInvalidDevice);
  *bytes = fake::setting("FAKE_CUDA_MEMORY", size_t{4} << 30);
  return kSuccess;
}

FAKE_EXPORT Result cuDevicePrimaryCtxRetain(ContextHandle* handle, DeviceNumber device) {
  Call call("cuDevicePrimaryCtxRetain");
  Result result;
  if (!call.begin(&result)) return result;
  if (!is_device(device)) return call.misused("no such device", fake::kInvalidDevice);
  fake::Context& context = call.books().contexts[device];
  context.device = device;
  if (context.retained++ == 0) {
    context.lost = 0;
    context.is_out_of_reach = false;
  }
  *handle = reinterpret_cast<ContextHandle>(&context);
  return kSuccess;
}

FAKE_EXPORT Result cuDevicePrimaryCtxRelease_v2(DeviceNumber device) {
  Call call("cuDevicePrimaryCtxRelease_v2");
  const auto at = call.books().contexts.find(device);
  if (at == call.books().contexts.end() || at->second.retained == 0)
    return call.misused("the context is not retained", fake::kInvalidContext);
  if (--at->second.retained == 0) call.books().end(&at->second);
  return call.injected();
}

FAKE_EXPORT Result cuCtxPushCurrent_v2(ContextHandle handle) {
  Call call("cuCtxPushCurrent_v2");
  Result result;
  const bool is_possible = call.begin(&result);
  for (auto& entry : call.books().contexts) {
    fake::Context& context = entry.second;
    if (reinterpret_cast<ContextHandle>(&context) != handle || context.retained == 0) continue;
    if (is_possible) fake::context_stack().push_back(&context);
    context.is_out_of_reach = context.is_out_of_reach || !is_possible;
    return result;
  }
  return call.misused("no such context", fake::kInvalidContext);
}

FAKE_EXPORT Result cuCtxPopCurrent_v2(ContextHandle* handle) {
  Call call("cuCtxPopCurrent_v2");
  if (fake::context_stack().empty()) return call.misused("no context is current", fake::kInvalidContext);
  if (handle) *handle = reinterpret_cast<ContextHandle>(fake::context_stack().back());
  fake::context_stack().pop_back();
  return call.injected();
}

FAKE_EXPORT Result cuMemAlloc_v2(DevicePointer* pointer, size_t bytes) {
  Call call("cuMemAlloc_v2");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin(&context, &result)) return result;
  if (!pointer || bytes == 0) return call.misused("no bytes", fake::kInvalidValue);
  return call.books().allocate(context, bytes, pointer);
}

FAKE_EXPORT Result cuMemFree_v2(DevicePointer pointer) {
  Call call("cuMemFree_v2");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin_release(&context, &result)) return result;
  const auto at = call.books().memory.find(pointer);
  if (at == call.books().memory.end() || at->second->context != context)
    return call.misused("not the start of a block of memory", fake::kInvalidValue);
  call.books().run_all(context);  // like the driver, which waits for the device
  const std::shared_ptr<fake::Memory> block = at->second;
  call.books().free(block);
  return result;
}

FAKE_EXPORT Result cuModuleLoadData(ModuleHandle* handle, const void* data) {
  Call call("cuModuleLoadData");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin(&context, &result)) return result;
  fake::Image image;
  if (!handle || !data || !image.decode(data)) return kInvalidImage;
  if (!runs(image.target)) return kNoBinaryForGpu;
  auto module = std::make_shared<fake::Module>();
  module->context = context;
  const std::string error = call.books().runner.build(image.source, image.macros, &module->program);
  if (!error.empty())
    return call.misused("the source does not compile with " + image.macros + ": " + error, kInvalidPtx);
  *handle = call.books().modules.add(module);
  return kSuccess;
}

FAKE_EXPORT Result cuModuleUnload(ModuleHandle handle) {
  Call call("cuModuleUnload");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin_release(&context, &result)) return result;
  const auto module = call.find(call.books().modules, handle, context);
  if (!module) return fake::kInvalidHandle;
  for (const FunctionHandle function : module->functions) {
    call.books().functions.find(function)->is_unloaded = true;
    call.books().functions.remove(function);
  }
  call.books().modules.remove(handle);
  return result;
}

FAKE_EXPORT Result cuModuleGetFunction(FunctionHandle* handle, ModuleHandle module_handle, const char* name) {
  Call call("cuModuleGetFunction");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin(&context, &result)) return result;
  const auto module = call.find(call.books().modules, module_handle, context);
  if (!module || !handle || !name) return fake::kInvalidHandle;
  auto function = std::make_shared<fake::Function>();
  function->context = context;
  function->name = name;
  bool is_missing = false;
  const std::string error = call.books().runner.find(module->program, name, &function->kernel, &is_missing);
  if (is_missing) return fake::kNotFound;
  if (!error.empty()) return call.misused(error, fake::kInvalidValue);
  *handle = call.books().functions.add(function);
  module->functions.push_back(*handle);
  return kSuccess;
}

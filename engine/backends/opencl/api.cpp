#include "backends/opencl/api.h"

#include <dlfcn.h>

#include <mutex>

namespace sparsenet::opencl {
namespace {

constexpr const char* kLibraries[] = {"libOpenCL.so.1", "libOpenCL.so"};

Outcome look_up(void* library, Api* api) {
#define SPARSENET_OPENCL_LOOK_UP(name)                                             \
  api->name = reinterpret_cast<decltype(api->name)>(::dlsym(library, "cl" #name)); \
  if (!api->name)                                                                  \
    return gpu::failure(SNP_NO_DEVICE, "libOpenCL.so.1 has no cl" #name "; OpenCL 1.2 or later is needed");
  SPARSENET_OPENCL_FUNCTIONS(SPARSENET_OPENCL_LOOK_UP)
#undef SPARSENET_OPENCL_LOOK_UP
  return {};
}

}  // namespace

Outcome load_api(const Api** api) {
  static std::mutex mutex;
  static Api loaded;
  static bool is_loaded = false;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!is_loaded) {
    void* library = nullptr;
    std::string reason;
    for (const char* name : kLibraries) {
      library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
      if (library) break;
      const char* text = ::dlerror();
      if (reason.empty() && text) reason = text;
    }
    if (!library)
      return gpu::failure(SNP_NO_DEVICE, "OpenCL is not installed (" + reason +
                                             "); install an OpenCL loader, such as ocl-icd, and the device's driver");
    const Outcome outcome = look_up(library, &loaded);
    if (!outcome.ok()) {
      ::dlclose(library);
      return outcome;
    }
    is_loaded = true;
  }
  *api = &loaded;
  return {};
}

std::string error_name(cl_int code) {
  switch (code) {
#define SPARSENET_OPENCL_ERROR(name) \
  case name:                         \
    return #name;
    SPARSENET_OPENCL_ERROR(CL_DEVICE_NOT_FOUND)
    SPARSENET_OPENCL_ERROR(CL_DEVICE_NOT_AVAILABLE)
    SPARSENET_OPENCL_ERROR(CL_COMPILER_NOT_AVAILABLE)
    SPARSENET_OPENCL_ERROR(CL_MEM_OBJECT_ALLOCATION_FAILURE)
    SPARSENET_OPENCL_ERROR(CL_OUT_OF_RESOURCES)
    SPARSENET_OPENCL_ERROR(CL_OUT_OF_HOST_MEMORY)
    SPARSENET_OPENCL_ERROR(CL_PROFILING_INFO_NOT_AVAILABLE)
    SPARSENET_OPENCL_ERROR(CL_MEM_COPY_OVERLAP)
    SPARSENET_OPENCL_ERROR(CL_BUILD_PROGRAM_FAILURE)
    SPARSENET_OPENCL_ERROR(CL_MAP_FAILURE)
    SPARSENET_OPENCL_ERROR(CL_MISALIGNED_SUB_BUFFER_OFFSET)
    SPARSENET_OPENCL_ERROR(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST)
    SPARSENET_OPENCL_ERROR(CL_COMPILE_PROGRAM_FAILURE)
    SPARSENET_OPENCL_ERROR(CL_LINKER_NOT_AVAILABLE)
    SPARSENET_OPENCL_ERROR(CL_LINK_PROGRAM_FAILURE)
    SPARSENET_OPENCL_ERROR(CL_KERNEL_ARG_INFO_NOT_AVAILABLE)
    SPARSENET_OPENCL_ERROR(CL_INVALID_VALUE)
    SPARSENET_OPENCL_ERROR(CL_INVALID_DEVICE_TYPE)
    SPARSENET_OPENCL_ERROR(CL_INVALID_PLATFORM)
    SPARSENET_OPENCL_ERROR(CL_INVALID_DEVICE)
    SPARSENET_OPENCL_ERROR(CL_INVALID_CONTEXT)
    SPARSENET_OPENCL_ERROR(CL_INVALID_QUEUE_PROPERTIES)
    SPARSENET_OPENCL_ERROR(CL_INVALID_COMMAND_QUEUE)
    SPARSENET_OPENCL_ERROR(CL_INVALID_HOST_PTR)
    SPARSENET_OPENCL_ERROR(CL_INVALID_MEM_OBJECT)
    SPARSENET_OPENCL_ERROR(CL_INVALID_BINARY)
    SPARSENET_OPENCL_ERROR(CL_INVALID_BUILD_OPTIONS)
    SPARSENET_OPENCL_ERROR(CL_INVALID_PROGRAM)
    SPARSENET_OPENCL_ERROR(CL_INVALID_PROGRAM_EXECUTABLE)
    SPARSENET_OPENCL_ERROR(CL_INVALID_KERNEL_NAME)
    SPARSENET_OPENCL_ERROR(CL_INVALID_KERNEL_DEFINITION)
    SPARSENET_OPENCL_ERROR(CL_INVALID_KERNEL)
    SPARSENET_OPENCL_ERROR(CL_INVALID_ARG_INDEX)
    SPARSENET_OPENCL_ERROR(CL_INVALID_ARG_VALUE)
    SPARSENET_OPENCL_ERROR(CL_INVALID_ARG_SIZE)
    SPARSENET_OPENCL_ERROR(CL_INVALID_KERNEL_ARGS)
    SPARSENET_OPENCL_ERROR(CL_INVALID_WORK_DIMENSION)
    SPARSENET_OPENCL_ERROR(CL_INVALID_WORK_GROUP_SIZE)
    SPARSENET_OPENCL_ERROR(CL_INVALID_WORK_ITEM_SIZE)
    SPARSENET_OPENCL_ERROR(CL_INVALID_GLOBAL_OFFSET)
    SPARSENET_OPENCL_ERROR(CL_INVALID_EVENT_WAIT_LIST)
    SPARSENET_OPENCL_ERROR(CL_INVALID_EVENT)
    SPARSENET_OPENCL_ERROR(CL_INVALID_OPERATION)
    SPARSENET_OPENCL_ERROR(CL_INVALID_BUFFER_SIZE)
    SPARSENET_OPENCL_ERROR(CL_INVALID_GLOBAL_WORK_SIZE)
    SPARSENET_OPENCL_ERROR(CL_INVALID_PROPERTY)
    SPARSENET_OPENCL_ERROR(CL_INVALID_COMPILER_OPTIONS)
    SPARSENET_OPENCL_ERROR(CL_INVALID_LINKER_OPTIONS)
#undef SPARSENET_OPENCL_ERROR
    case -1001:  // of cl_khr_icd
      return "CL_PLATFORM_NOT_FOUND_KHR";
    default:
      return "an error of the driver's own";
  }
}

Outcome outcome_of(cl_int code, const char* call) {
  if (code == CL_SUCCESS) return {};
  const bool memory = code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_HOST_MEMORY;
  return gpu::failure(memory ? SNP_NO_MEMORY : SNP_FAILED,
                      std::string(call) + " failed: " + error_name(code) + " (" + std::to_string(code) + ")" +
                          (memory ? "; use a smaller batch, or stop other programs that use the device" : ""));
}

}  // namespace sparsenet::opencl

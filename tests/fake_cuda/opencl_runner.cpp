#include "tests/fake_cuda/opencl_runner.h"

#include <sstream>

namespace fake {
namespace {

std::string check(cl_int code, const char* call) {
  return code == CL_SUCCESS ? "" : std::string(call) + " returned " + std::to_string(code);
}

// Of a build log.
std::string first_error(const std::string& log) {
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);)
    if (line.find("error") != std::string::npos) return line;
  return log.substr(0, log.find('\n'));
}

}  // namespace

std::string OpenClRunner::open() {
  if (queue_) return "";
  cl_platform_id platform = nullptr;
  std::string error = check(clGetPlatformIDs(1, &platform, nullptr), "clGetPlatformIDs");
  if (error.empty())
    error = check(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device_, nullptr), "clGetDeviceIDs");
  if (!error.empty()) return error;
  cl_int code = CL_SUCCESS;
  context_ = clCreateContext(nullptr, 1, &device_, nullptr, nullptr, &code);
  if (code != CL_SUCCESS) return check(code, "clCreateContext");
  queue_ = clCreateCommandQueue(context_, device_, 0, &code);
  return check(code, "clCreateCommandQueue");
}

std::string OpenClRunner::allocate(size_t bytes, cl_mem* memory) {
  cl_int code = CL_SUCCESS;
  *memory = clCreateBuffer(context_, CL_MEM_READ_WRITE, bytes, nullptr, &code);
  if (code != CL_SUCCESS) return check(code, "clCreateBuffer");
  return fill(*memory, 0, 0xff, bytes);
}

void OpenClRunner::release(cl_mem memory) {
  clReleaseMemObject(memory);
}

std::string OpenClRunner::write(cl_mem memory, size_t offset, const void* from, size_t bytes) {
  return check(clEnqueueWriteBuffer(queue_, memory, CL_TRUE, offset, bytes, from, 0, nullptr, nullptr),
               "clEnqueueWriteBuffer");
}

std::string OpenClRunner::read(cl_mem memory, size_t offset, void* to, size_t bytes) {
  return check(clEnqueueReadBuffer(queue_, memory, CL_TRUE, offset, bytes, to, 0, nullptr, nullptr),
               "clEnqueueReadBuffer");
}

std::string OpenClRunner::copy(cl_mem to, size_t to_offset, cl_mem from, size_t from_offset, size_t bytes) {
  const std::string error = check(
      clEnqueueCopyBuffer(queue_, from, to, from_offset, to_offset, bytes, 0, nullptr, nullptr), "clEnqueueCopyBuffer");
  return error.empty() ? check(clFinish(queue_), "clFinish") : error;
}

std::string OpenClRunner::fill(cl_mem memory, size_t offset, uint8_t value, size_t bytes) {
  const std::string error =
      check(clEnqueueFillBuffer(queue_, memory, &value, 1, offset, bytes, 0, nullptr, nullptr), "clEnqueueFillBuffer");
  return error.empty() ? check(clFinish(queue_), "clFinish") : error;
}

std::string OpenClRunner::build(const std::string& source, const std::string& macros, cl_program* program) {
  const auto [at, is_first] = programs_.try_emplace(macros + "\n" + source, nullptr);
  *program = at->second;
  if (!is_first) return "";
  const char* text = source.c_str();
  cl_int code = CL_SUCCESS;
  *program = clCreateProgramWithSource(context_, 1, &text, nullptr, &code);
  std::string error = check(code, "clCreateProgramWithSource");
  if (error.empty()) {
    const std::string options = "-cl-std=CL1.2 -cl-kernel-arg-info " + macros;
    error = check(clBuildProgram(*program, 1, &device_, options.c_str(), nullptr, nullptr), "clBuildProgram");
    if (!error.empty()) {
      size_t bytes = 0;
      clGetProgramBuildInfo(*program, device_, CL_PROGRAM_BUILD_LOG, 0, nullptr, &bytes);
      std::string log(bytes, '\0');
      clGetProgramBuildInfo(*program, device_, CL_PROGRAM_BUILD_LOG, bytes, log.data(), nullptr);
      error += ": " + first_error(log);
      clReleaseProgram(*program);
    }
  }
  if (error.empty()) {
    at->second = *program;
  } else {
    programs_.erase(at);
  }
  return error;
}

std::string OpenClRunner::find(cl_program program, const std::string& entry, Kernel* kernel, bool* is_missing) {
  cl_int code = CL_SUCCESS;
  kernel->handle = clCreateKernel(program, entry.c_str(), &code);
  *is_missing = code == CL_INVALID_KERNEL_NAME;
  if (code != CL_SUCCESS) return check(code, "clCreateKernel");
  cl_uint count = 0;
  clGetKernelInfo(kernel->handle, CL_KERNEL_NUM_ARGS, sizeof(count), &count, nullptr);
  if (count != 4) return entry + " has " + std::to_string(count) + " parameters instead of four";
  for (cl_uint i = 0; i < count; ++i) {
    cl_kernel_arg_address_qualifier space = 0;
    clGetKernelArgInfo(kernel->handle, i, CL_KERNEL_ARG_ADDRESS_QUALIFIER, sizeof(space), &space, nullptr);
    if (space != (i < 3 ? CL_KERNEL_ARG_ADDRESS_GLOBAL : CL_KERNEL_ARG_ADDRESS_PRIVATE))
      return "parameter " + std::to_string(i) + " of " + entry + " is of another kind";
  }
  cl_ulong local_bytes = 0;
  clGetKernelWorkGroupInfo(kernel->handle, device_, CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof(kernel->group),
                           kernel->group.data(), nullptr);
  clGetKernelWorkGroupInfo(kernel->handle, device_, CL_KERNEL_LOCAL_MEM_SIZE, sizeof(local_bytes), &local_bytes,
                           nullptr);
  kernel->local_bytes = local_bytes;
  return "";
}

std::string OpenClRunner::run(const Kernel& kernel, const std::array<cl_mem, 3>& memory,
                              const std::vector<uint8_t>& params, const std::array<size_t, 3>& groups) {
  for (cl_uint i = 0; i < 3; ++i) {
    const std::string error =
        check(clSetKernelArg(kernel.handle, i, sizeof(cl_mem), memory[i] ? &memory[i] : nullptr), "clSetKernelArg");
    if (!error.empty()) return error;
  }
  std::string error =
      check(clSetKernelArg(kernel.handle, 3, params.size(), params.data()), "clSetKernelArg of the structure");
  if (!error.empty()) return error;
  std::array<size_t, 3> threads{};
  for (size_t d = 0; d < 3; ++d) threads[d] = groups[d] * kernel.group[d];
  error = check(clEnqueueNDRangeKernel(queue_, kernel.handle, 3, nullptr, threads.data(), kernel.group.data(), 0,
                                       nullptr, nullptr),
                "clEnqueueNDRangeKernel");
  return error.empty() ? check(clFinish(queue_), "clFinish") : error;
}

}  // namespace fake

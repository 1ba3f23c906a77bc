#include "backends/opencl/device.h"

#include <algorithm>

#include "backends/gpu/binary_cache.h"
#include "backends/opencl/queue.h"

namespace sparsenet::opencl {
namespace {

constexpr size_t kMostLog = 600;  // characters of a compiler's log that go into a message

// What a compiler says, from its first error on, in one line.
std::string first_lines(const std::string& log) {
  const size_t error = log.find("error");
  const size_t line = error == std::string::npos ? std::string::npos : log.rfind('\n', error);
  std::string text = log.substr(line == std::string::npos ? 0 : line + 1, kMostLog);
  text.resize(std::min(text.size(), text.find('\0')));
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

ClDevice::ClDevice(const Api& api, cl_device_id id, std::string platform)
    : api_(api), id_(id), platform_(std::move(platform)), traits_(traits_of(api, id, platform_)) {
  options_ = "-cl-std=CL1.2";
  // Division and square roots with one rounding, like the CPU's, where the device can.
  const cl_device_fp_config floats = device_number<cl_device_fp_config>(api, id, CL_DEVICE_SINGLE_FP_CONFIG);
  if ((floats & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0) options_ += " -cl-fp32-correctly-rounded-divide-sqrt";
}

Outcome ClDevice::find_context(cl_context* context) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!context_) {
    cl_int code = CL_SUCCESS;
    Owned<cl_context> made(api_.CreateContext(nullptr, 1, &id_, nullptr, nullptr, &code), api_.ReleaseContext);
    if (code != CL_SUCCESS || !made)
      return outcome_of(code != CL_SUCCESS ? code : CL_INVALID_CONTEXT, "clCreateContext");
    context_ = std::move(made);
  }
  *context = context_.get();
  return {};
}

Outcome ClDevice::make_queue(std::unique_ptr<gpu::Queue>* queue) {
  cl_context context = nullptr;
  Outcome outcome = find_context(&context);
  if (!outcome.ok()) return outcome;
  auto made = std::make_unique<ClQueue>(api_, context, id_);
  outcome = made->open();
  if (outcome.ok()) *queue = std::move(made);
  return outcome;
}

Outcome ClDevice::allocate(uint64_t bytes, std::unique_ptr<gpu::Buffer>* buffer) {
  cl_context context = nullptr;
  const Outcome outcome = find_context(&context);
  if (!outcome.ok()) return outcome;
  cl_int code = CL_SUCCESS;
  Owned<cl_mem> mem(api_.CreateBuffer(context, CL_MEM_READ_WRITE, static_cast<size_t>(bytes), nullptr, &code),
                    api_.ReleaseMemObject);
  if (code != CL_SUCCESS) {
    const Outcome failed = outcome_of(code, "clCreateBuffer");
    return gpu::failure(
        SNP_NO_MEMORY, std::to_string(bytes) + " bytes on " + traits_.name + " cannot be allocated: " + failed.message);
  }
  *buffer = std::make_unique<ClBuffer>(std::move(mem));
  return {};
}

Outcome ClDevice::compile(const std::vector<gpu::KernelName>& names, const std::string& cache_folder,
                          std::vector<std::shared_ptr<gpu::Kernel>>* kernels) {
  cl_context context = nullptr;
  Outcome outcome = find_context(&context);
  if (!outcome.ok()) return outcome;
  kernels->clear();
  for (const gpu::KernelName& name : names) {
    auto kernel = std::make_shared<ClKernel>();
    outcome = find_program(context, name, cache_folder, &kernel->program);
    if (!outcome.ok()) return outcome;
    cl_int code = CL_SUCCESS;
    kernel->entry = name.entry;
    kernel->kernel = Owned<cl_kernel>(api_.CreateKernel(kernel->program->program.get(), name.entry.c_str(), &code),
                                      api_.ReleaseKernel);
    if (code != CL_SUCCESS) return outcome_of(code, ("clCreateKernel of " + name.entry).c_str());
    kernels->push_back(std::move(kernel));
  }
  return {};
}

Outcome ClDevice::find_program(cl_context context, const gpu::KernelName& name, const std::string& cache_folder,
                               std::shared_ptr<ClProgram>* program) {
  // Held while it compiles, so that no two threads compile the same.
  const std::lock_guard<std::mutex> lock(mutex_);
  std::weak_ptr<ClProgram>& known = programs_[{name.file, name.defines}];
  *program = known.lock();
  if (*program) return {};

  const char* source = gpu::kernel_source(name.file);
  if (!source) return gpu::failure(SNP_FAILED, "the plugin has no kernels named " + name.file);
  const std::string options = options_ + " " + name.defines;
  const std::string key =
      "OpenCL\n" + traits_.vendor + "\n" + traits_.name + "\n" + traits_.driver + "\n" + options + "\n" + source;
  Owned<cl_program> built;
  if (!build_cached(context, cache_folder, key, options, &built)) {
    cl_int code = CL_SUCCESS;
    built = Owned<cl_program>(api_.CreateProgramWithSource(context, 1, &source, nullptr, &code), api_.ReleaseProgram);
    if (code != CL_SUCCESS) return outcome_of(code, "clCreateProgramWithSource");
    const Outcome outcome = build(built.get(), name.file, options);
    if (!outcome.ok()) return outcome;
    keep_binary(built.get(), cache_folder, key);
  }
  *program = std::make_shared<ClProgram>(std::move(built));
  known = *program;
  return {};
}

Outcome ClDevice::build(cl_program program, const std::string& file, const std::string& options) {
  const cl_int code = api_.BuildProgram(program, 1, &id_, options.c_str(), nullptr, nullptr);
  if (code == CL_SUCCESS) return {};
  std::string log;
  size_t bytes = 0;
  if (api_.GetProgramBuildInfo(program, id_, CL_PROGRAM_BUILD_LOG, 0, nullptr, &bytes) == CL_SUCCESS && bytes != 0) {
    log.resize(bytes);
    if (api_.GetProgramBuildInfo(program, id_, CL_PROGRAM_BUILD_LOG, bytes, log.data(), nullptr) != CL_SUCCESS)
      log.clear();
  }
  Outcome outcome = outcome_of(code, "clBuildProgram");
  outcome.message =
      "kernels " + file + ".cl do not compile with \"" + options + "\": " + outcome.message + "; " + first_lines(log);
  return outcome;
}

bool ClDevice::build_cached(cl_context context, const std::string& folder, const std::string& key,
                            const std::string& options, Owned<cl_program>* program) {
  std::vector<uint8_t> binary;
  if (!gpu::read_cached_binary(folder, key, &binary)) return false;
  const unsigned char* data = binary.data();
  const size_t bytes = binary.size();
  cl_int status = CL_SUCCESS, code = CL_SUCCESS;
  Owned<cl_program> made(api_.CreateProgramWithBinary(context, 1, &id_, &bytes, &data, &status, &code),
                         api_.ReleaseProgram);
  if (code != CL_SUCCESS || status != CL_SUCCESS) return false;
  if (api_.BuildProgram(made.get(), 1, &id_, options.c_str(), nullptr, nullptr) != CL_SUCCESS) return false;
  *program = std::move(made);
  return true;
}

void ClDevice::keep_binary(cl_program program, const std::string& folder, const std::string& key) {
  if (folder.empty()) return;
  size_t bytes = 0;
  if (api_.GetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, nullptr) != CL_SUCCESS || bytes == 0)
    return;
  std::vector<uint8_t> binary(bytes);
  unsigned char* data = binary.data();
  if (api_.GetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof data, &data, nullptr) != CL_SUCCESS) return;
  gpu::write_cached_binary(folder, key, binary);
}

}  // namespace sparsenet::opencl

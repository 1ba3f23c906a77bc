#include "backends/opencl/device.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "backends/gpu/binary_cache.h"
#include "backends/gpu/threads.h"
#include "backends/opencl/queue.h"

namespace sparsenet::opencl {
namespace {

constexpr size_t kMostLog = 600;    // characters of a compiler's log that go into a message
constexpr size_t kMostThreads = 8;  // that compile
constexpr size_t kMostIdlePrograms = 96;
// Set to 1, CPUs run what GPUs run, so that this can be tested where there is no GPU.
constexpr const char* kAsGpu = "SPARSENET_OPENCL_AS_GPU";

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
  const char* as_gpu = std::getenv(kAsGpu);
  if (traits_.is_cpu && as_gpu && std::string(as_gpu) == "1") {
    traits_.is_cpu = false;
    traits_.driver += ", as a GPU";  // Choices by tuning are others.
  }
  is_pocl_ = platform_.rfind("Portable Computing Language", 0) == 0;
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
  std::map<ProgramName, std::shared_ptr<ClProgram>> programs;
  outcome = find_programs(context, names, cache_folder, &programs);
  if (!outcome.ok()) return outcome;
  kernels->clear();
  for (const gpu::KernelName& name : names) {
    auto kernel = std::make_shared<ClKernel>();
    kernel->program = programs.at({name.file, name.defines});
    cl_int code = CL_SUCCESS;
    kernel->entry = name.entry;
    kernel->kernel = Owned<cl_kernel>(api_.CreateKernel(kernel->program->program.get(), name.entry.c_str(), &code),
                                      api_.ReleaseKernel);
    if (code != CL_SUCCESS) return outcome_of(code, ("clCreateKernel of " + name.entry).c_str());
    kernels->push_back(std::move(kernel));
  }
  return {};
}

Outcome ClDevice::find_programs(cl_context context, const std::vector<gpu::KernelName>& names,
                                const std::string& cache_folder,
                                std::map<ProgramName, std::shared_ptr<ClProgram>>* programs) {
  struct Job {
    ProgramName name;
    std::shared_ptr<ClProgram> program;
    Outcome outcome;
  };
  std::vector<Job> jobs;
  // Held while it compiles, so that no two plans compile the same.
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const gpu::KernelName& name : names) {
    const auto [place, is_new] = programs->emplace(ProgramName(name.file, name.defines), nullptr);
    if (!is_new) continue;
    const auto known = programs_.find(place->first);
    if (known == programs_.end()) {
      jobs.push_back({place->first, nullptr, {}});
    } else {
      place->second = known->second;
    }
  }
  // PoCL's compiler runs in one thread at a time.
  const size_t threads = is_pocl_ ? 1 : std::min<size_t>(kMostThreads, std::thread::hardware_concurrency());
  const bool done = gpu::run_in_threads(jobs.size(), threads, [&](size_t i) {
    jobs[i].outcome = make_program(context, jobs[i].name, cache_folder, &jobs[i].program);
  });
  if (!done) return gpu::failure(SNP_NO_MEMORY, "no memory left while kernels were compiled");
  for (const Job& job : jobs) {
    if (!job.outcome.ok()) return job.outcome;
    programs_[job.name] = (*programs)[job.name] = job.program;
  }
  for (auto at = programs_.begin(); at != programs_.end() && programs_.size() > kMostIdlePrograms;) {
    at = at->second.use_count() == 1 ? programs_.erase(at) : std::next(at);
  }
  return {};
}

Outcome ClDevice::make_program(cl_context context, const ProgramName& name, const std::string& cache_folder,
                               std::shared_ptr<ClProgram>* program) const {
  const auto& [file, defines] = name;
  const char* source = gpu::kernel_source(file);
  if (!source) return gpu::failure(SNP_FAILED, "the plugin has no kernels named " + file);
  const std::string options = options_ + " " + defines;
  const std::string key =
      "OpenCL\n" + traits_.vendor + "\n" + traits_.name + "\n" + traits_.driver + "\n" + options + "\n" + source;
  Owned<cl_program> built;
  if (!build_cached(context, cache_folder, key, options, &built)) {
    cl_int code = CL_SUCCESS;
    built = Owned<cl_program>(api_.CreateProgramWithSource(context, 1, &source, nullptr, &code), api_.ReleaseProgram);
    if (code != CL_SUCCESS) return outcome_of(code, "clCreateProgramWithSource");
    const Outcome outcome = build(built.get(), file, options);
    if (!outcome.ok()) return outcome;
    keep_binary(built.get(), cache_folder, key);
  }
  *program = std::make_shared<ClProgram>(std::move(built));
  return {};
}

Outcome ClDevice::build(cl_program program, const std::string& file, const std::string& options) const {
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
                            const std::string& options, Owned<cl_program>* program) const {
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

void ClDevice::keep_binary(cl_program program, const std::string& folder, const std::string& key) const {
  // PoCL keeps what it compiles by itself. Asked for a binary, it compiles every kernel a second time, for groups of
  // any size, which takes longer than all the rest.
  if (folder.empty() || is_pocl_) return;
  size_t bytes = 0;
  if (api_.GetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, nullptr) != CL_SUCCESS || bytes == 0)
    return;
  std::vector<uint8_t> binary(bytes);
  unsigned char* data = binary.data();
  if (api_.GetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof data, &data, nullptr) != CL_SUCCESS) return;
  gpu::write_cached_binary(folder, key, binary);
}

}  // namespace sparsenet::opencl

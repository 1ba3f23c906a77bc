#include "backends/cuda/device.h"

#include "backends/cuda/compile.h"
#include "backends/cuda/queue.h"

namespace sparsenet::gpu::cuda {

Outcome Compiler::open(int driver, const Nvrtc** nvrtc) {
  const std::lock_guard<std::mutex> lock(mutex_);
  *nvrtc = &nvrtc_;
  return nvrtc_.open(driver);
}

Outcome CudaDevice::describe(int ordinal) {
  Outcome outcome = api_.check(api_.cuDeviceGet(&number_, ordinal), "cuDeviceGet");
  if (!outcome.ok()) return outcome;
  char name[256] = {};
  outcome = api_.check(api_.cuDeviceGetName(name, static_cast<int>(sizeof(name)) - 1, number_), "cuDeviceGetName");
  if (!outcome.ok()) return outcome;
  size_t memory = 0;
  outcome = api_.check(api_.cuDeviceTotalMem_v2(&memory, number_), "cuDeviceTotalMem_v2");
  if (!outcome.ok()) return outcome;

  struct Query {
    Attribute attribute;
    int value;
  };
  Query threads{kMaxThreadsPerBlock, 0}, shared{kMaxSharedMemoryPerBlock, 0}, warp{kWarpSize, 0},
      units{kMultiprocessorCount, 0}, major{kComputeCapabilityMajor, 0}, minor{kComputeCapabilityMinor, 0};
  for (Query* query : {&threads, &shared, &warp, &units, &major, &minor}) {
    outcome = api_.check(api_.cuDeviceGetAttribute(&query->value, query->attribute, number_), "cuDeviceGetAttribute");
    if (!outcome.ok()) return outcome;
  }

  traits_.name = name;
  traits_.vendor = "NVIDIA";
  traits_.driver = "CUDA " + std::to_string(driver_version_ / 1000) + "." + std::to_string(driver_version_ % 1000 / 10);
  traits_.units = static_cast<uint32_t>(units.value);
  traits_.memory_bytes = traits_.max_allocation_bytes = memory;
  traits_.local_bytes = static_cast<uint64_t>(shared.value);
  traits_.max_group = static_cast<uint32_t>(threads.value);
  traits_.lanes = static_cast<uint32_t>(warp.value);
  traits_.compute_capability = 10 * major.value + minor.value;
  traits_.dot_product = traits_.compute_capability >= 61;
  traits_.tensor_cores = traits_.compute_capability >= 75;
  return {};
}

Outcome CudaDevice::context(std::shared_ptr<Context>* context) {
  const std::lock_guard<std::mutex> lock(mutex_);
  *context = context_.lock();
  if (*context) return {};
  const Outcome outcome = Context::retain(api_, number_, context);
  if (outcome.ok()) context_ = *context;
  return outcome;
}

Outcome CudaDevice::make_queue(std::unique_ptr<Queue>* queue) {
  std::shared_ptr<Context> shared;
  const Outcome outcome = context(&shared);
  return outcome.ok() ? CudaQueue::make(std::move(shared), queue) : outcome;
}

Outcome CudaDevice::allocate(uint64_t bytes, std::unique_ptr<Buffer>* buffer) {
  std::shared_ptr<Context> shared;
  const Outcome outcome = context(&shared);
  return outcome.ok() ? CudaBuffer::allocate(std::move(shared), bytes, buffer) : outcome;
}

Outcome CudaDevice::compile(const std::vector<KernelName>& names, const std::string& cache_folder,
                            std::vector<std::shared_ptr<Kernel>>* kernels) {
  kernels->clear();
  std::map<Unit, std::shared_ptr<Module>> modules;
  std::vector<Unit> missing;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const KernelName& name : names) {
      const auto [at, is_first] = modules.try_emplace({name.file, name.defines});
      if (!is_first) continue;
      const auto kept = modules_.find(at->first);
      if (kept != modules_.end()) at->second = kept->second.lock();
      if (!at->second) missing.push_back(at->first);
    }
  }
  Outcome outcome = load(missing, cache_folder, &modules);
  if (!outcome.ok()) return outcome;

  for (const KernelName& name : names) {
    const std::shared_ptr<Module>& module = modules[{name.file, name.defines}];
    FunctionHandle function = nullptr;
    outcome = module->find(name.entry, &function);
    if (!outcome.ok()) return outcome;
    kernels->push_back(std::make_shared<CudaKernel>(module, function));
  }
  return {};
}

Outcome CudaDevice::load(const std::vector<Unit>& units, const std::string& cache_folder,
                         std::map<Unit, std::shared_ptr<Module>>* modules) {
  if (units.empty()) return {};
  const Nvrtc* nvrtc = nullptr;
  Outcome outcome = compiler_.open(driver_version_, &nvrtc);
  if (!outcome.ok()) return outcome;
  Nvrtc::Target target;
  outcome = nvrtc->target_for(traits_.compute_capability, &target);
  if (!outcome.ok()) return outcome;
  std::vector<CompileJob> jobs;
  for (const Unit& unit : units) jobs.push_back({unit.first, unit.second, {}, {}});
  outcome = compile_all(*nvrtc, target, cache_folder, &jobs);
  if (!outcome.ok()) return outcome;

  std::shared_ptr<Context> shared;
  outcome = context(&shared);
  if (!outcome.ok()) return outcome;
  for (size_t i = 0; i < units.size(); ++i) {
    std::shared_ptr<Module>& module = (*modules)[units[i]];
    outcome = Module::load(shared, units[i].first + ".cl " + units[i].second, jobs[i].image.data(), &module);
    if (!outcome.ok()) return outcome;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto at = modules_.begin(); at != modules_.end();) at = at->second.expired() ? modules_.erase(at) : ++at;
  for (const Unit& unit : units) modules_[unit] = (*modules)[unit];
  return {};
}

Outcome CudaDriver::open() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (open_) return {};
  Outcome outcome = api_.open();
  if (!outcome.ok()) return outcome;
  outcome = api_.check(api_.cuInit(0), "cuInit");
  if (!outcome.ok()) {
    outcome.status = SNP_NO_DEVICE;
    return outcome;
  }
  int version = 0, count = 0;
  outcome = api_.check(api_.cuDriverGetVersion(&version), "cuDriverGetVersion");
  if (outcome.ok()) outcome = api_.check(api_.cuDeviceGetCount(&count), "cuDeviceGetCount");
  if (!outcome.ok()) return outcome;
  std::vector<std::unique_ptr<CudaDevice>> found;
  for (int i = 0; i < count; ++i) {
    found.push_back(std::make_unique<CudaDevice>(api_, compiler_, version));
    outcome = found.back()->describe(i);
    if (!outcome.ok()) return outcome;
  }
  devices_ = std::move(found);
  open_ = true;
  return {};
}

}  // namespace sparsenet::gpu::cuda

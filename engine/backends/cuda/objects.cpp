#include "backends/cuda/objects.h"

namespace sparsenet::gpu::cuda {

Outcome CudaBuffer::allocate(std::shared_ptr<Context> context, uint64_t bytes, std::unique_ptr<Buffer>* buffer) {
  const DriverApi& api = context->api();
  const Current current(*context);
  if (!current.outcome().ok()) return current.outcome();
  DevicePointer pointer = 0;
  Outcome outcome = api.check(api.cuMemAlloc_v2(&pointer, static_cast<size_t>(bytes)), "cuMemAlloc_v2",
                              std::to_string(bytes) + " bytes");
  if (outcome.ok()) buffer->reset(new CudaBuffer(std::move(context), pointer, bytes));
  return outcome;
}

CudaBuffer::~CudaBuffer() {
  const Current current(*context_);
  if (current.outcome().ok()) context_->api().cuMemFree_v2(pointer_);
}

Outcome Module::load(std::shared_ptr<Context> context, const std::string& name, const void* image,
                     std::shared_ptr<Module>* module) {
  const DriverApi& api = context->api();
  const Current current(*context);
  if (!current.outcome().ok()) return current.outcome();
  ModuleHandle handle = nullptr;
  Outcome outcome = api.check(api.cuModuleLoadData(&handle, image), "cuModuleLoadData", name);
  if (outcome.ok()) module->reset(new Module(std::move(context), handle));
  return outcome;
}

Module::~Module() {
  const Current current(*context_);
  if (current.outcome().ok()) context_->api().cuModuleUnload(handle_);
}

Outcome Module::find(const std::string& entry, FunctionHandle* function) const {
  const DriverApi& api = context_->api();
  const Current current(*context_);
  if (!current.outcome().ok()) return current.outcome();
  return api.check(api.cuModuleGetFunction(function, handle_, entry.c_str()), "cuModuleGetFunction", entry);
}

}  // namespace sparsenet::gpu::cuda

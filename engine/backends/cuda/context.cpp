#include "backends/cuda/context.h"

namespace sparsenet::gpu::cuda {

Outcome Context::retain(const DriverApi& api, DeviceNumber number, std::shared_ptr<Context>* context) {
  ContextHandle handle = nullptr;
  Outcome outcome = api.check(api.cuDevicePrimaryCtxRetain(&handle, number), "cuDevicePrimaryCtxRetain");
  if (outcome.ok()) context->reset(new Context(api, number, handle));
  return outcome;
}

Context::~Context() {
  api_.cuDevicePrimaryCtxRelease_v2(number_);
}

Current::Current(const Context& context) : context_(context) {
  const DriverApi& api = context.api();
  outcome_ = api.check(api.cuCtxPushCurrent_v2(context.handle()), "cuCtxPushCurrent_v2");
}

Current::~Current() {
  ContextHandle handle = nullptr;
  if (outcome_.ok()) context_.api().cuCtxPopCurrent_v2(&handle);
}

}  // namespace sparsenet::gpu::cuda

// Context: a device's primary context, kept as long as something in it is; and Current, which makes it the thread's.
#pragma once

#include <memory>

#include "backends/cuda/driver_api.h"

namespace sparsenet::gpu::cuda {

class Context {
 public:
  // `number` belongs to a device of `api`, which outlives the context.
  static Outcome retain(const DriverApi& api, DeviceNumber number, std::shared_ptr<Context>* context);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const DriverApi& api() const { return api_; }
  ContextHandle handle() const { return handle_; }

 private:
  Context(const DriverApi& api, DeviceNumber number, ContextHandle handle)
      : api_(api), number_(number), handle_(handle) {}
  const DriverApi& api_;
  DeviceNumber number_;
  ContextHandle handle_;
};

// While it lives, the context is the calling thread's; then the one before is, which may be the caller's own.
class Current {
 public:
  explicit Current(const Context& context);
  ~Current();
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;
  const Outcome& outcome() const { return outcome_; }

 private:
  const Context& context_;
  Outcome outcome_;
};

}  // namespace sparsenet::gpu::cuda

// What lies in a context: memory and kernels. What cannot be freed because the context is not to be had any more goes
// with the context.
#pragma once

#include <memory>
#include <string>

#include "backends/cuda/context.h"

namespace sparsenet::gpu::cuda {

class CudaBuffer : public Buffer {
 public:
  static Outcome allocate(std::shared_ptr<Context> context, uint64_t bytes, std::unique_ptr<Buffer>* buffer);
  ~CudaBuffer() override;

  DevicePointer pointer() const { return pointer_; }
  uint64_t bytes() const { return bytes_; }

 private:
  CudaBuffer(std::shared_ptr<Context> context, DevicePointer pointer, uint64_t bytes)
      : context_(std::move(context)), pointer_(pointer), bytes_(bytes) {}
  std::shared_ptr<Context> context_;
  DevicePointer pointer_;
  uint64_t bytes_;
};

// Compiled code on the device.
class Module {
 public:
  static Outcome load(std::shared_ptr<Context> context, const std::string& name, const void* image,
                      std::shared_ptr<Module>* module);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  Outcome find(const std::string& entry, FunctionHandle* function) const;

 private:
  Module(std::shared_ptr<Context> context, ModuleHandle handle) : context_(std::move(context)), handle_(handle) {}
  std::shared_ptr<Context> context_;
  ModuleHandle handle_;
};

class CudaKernel : public Kernel {
 public:
  CudaKernel(std::shared_ptr<Module> module, FunctionHandle function)
      : module_(std::move(module)), function_(function) {}
  FunctionHandle function() const { return function_; }

 private:
  std::shared_ptr<Module> module_;
  FunctionHandle function_;
};

}  // namespace sparsenet::gpu::cuda

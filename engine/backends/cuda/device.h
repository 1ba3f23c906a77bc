// CudaDevice and CudaDriver: what the GPU plugin needs of CUDA (backends/gpu/device.h).
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backends/cuda/nvrtc.h"
#include "backends/cuda/objects.h"

namespace sparsenet::gpu::cuda {

// The compiler, which all devices share: opened by the first compilation.
class Compiler {
 public:
  // `driver`: the CUDA version of the driver.
  Outcome open(int driver, const Nvrtc** nvrtc);

 private:
  std::mutex mutex_;
  Nvrtc nvrtc_;
};

class CudaDevice : public Device {
 public:
  CudaDevice(const DriverApi& api, Compiler& compiler, int driver)
      : api_(api), compiler_(compiler), driver_version_(driver) {}
  Outcome describe(int ordinal);  // fills in the traits

  const Traits& traits() const override { return traits_; }
  Outcome make_queue(std::unique_ptr<Queue>* queue) override;
  Outcome allocate(uint64_t bytes, std::unique_ptr<Buffer>* buffer) override;
  Outcome compile(const std::vector<KernelName>& names, const std::string& cache_folder,
                  std::vector<std::shared_ptr<Kernel>>* kernels) override;

 private:
  // A file of kernels with macros: what one call of the compiler compiles, and one module is made of.
  using Unit = std::pair<std::string, std::string>;
  // The context is there as long as anything lies in it, so an idle plugin holds nothing on the device.
  Outcome context(std::shared_ptr<Context>* context);
  Outcome load(const std::vector<Unit>& units, const std::string& cache_folder,
               std::map<Unit, std::shared_ptr<Module>>* modules);

  const DriverApi& api_;
  Compiler& compiler_;
  const int driver_version_;
  DeviceNumber number_ = 0;
  Traits traits_;
  std::mutex mutex_;
  std::weak_ptr<Context> context_;
  std::map<Unit, std::weak_ptr<Module>> modules_;  // those in use: plans share them
};

class CudaDriver : public Driver {
 public:
  Outcome open() override;
  size_t devices() const override { return devices_.size(); }
  Device& device(size_t index) override { return *devices_[index]; }

 private:
  std::mutex mutex_;
  bool open_ = false;
  DriverApi api_;
  Compiler compiler_;
  std::vector<std::unique_ptr<CudaDevice>> devices_;
};

}  // namespace sparsenet::gpu::cuda

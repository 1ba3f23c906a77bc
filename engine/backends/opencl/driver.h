// The devices of all platforms of OpenCL.
#pragma once

#include <memory>
#include <vector>

#include "backends/opencl/device.h"

namespace sparsenet::opencl {

class ClDriver final : public gpu::Driver {
 public:
  Outcome open() override;
  size_t devices() const override { return devices_.size(); }
  gpu::Device& device(size_t index) override { return *devices_[index]; }

 private:
  std::vector<std::unique_ptr<ClDevice>> devices_;
};

}  // namespace sparsenet::opencl

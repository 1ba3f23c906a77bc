// A device of OpenCL, with a context of its own.
#pragma once

#include <map>
#include <mutex>
#include <utility>

#include "backends/gpu/device.h"
#include "backends/opencl/api.h"

namespace sparsenet::opencl {

struct ClBuffer final : gpu::Buffer {
  explicit ClBuffer(Owned<cl_mem> memory) : mem(std::move(memory)) {}
  Owned<cl_mem> mem;
};

// A built program, which several kernels are functions of.
struct ClProgram {
  explicit ClProgram(Owned<cl_program> built) : program(std::move(built)) {}
  Owned<cl_program> program;
};

struct ClKernel final : gpu::Kernel {
  std::shared_ptr<ClProgram> program;
  std::string entry;
  // For launches that are not recorded, from any queue: arguments belong to the kernel until it is enqueued.
  mutable std::mutex mutex;
  Owned<cl_kernel> kernel;
};

class ClDevice final : public gpu::Device {
 public:
  // `platform` names the platform and its version.
  ClDevice(const Api& api, cl_device_id id, std::string platform);

  const gpu::Traits& traits() const override { return traits_; }
  Outcome make_queue(std::unique_ptr<gpu::Queue>* queue) override;
  Outcome allocate(uint64_t bytes, std::unique_ptr<gpu::Buffer>* buffer) override;
  Outcome compile(const std::vector<gpu::KernelName>& names, const std::string& cache_folder,
                  std::vector<std::shared_ptr<gpu::Kernel>>* kernels) override;

 private:
  Outcome find_context(cl_context* context);
  using ProgramName = std::pair<std::string, std::string>;  // file and defines
  // The programs of these kernels, by name: those that are in memory, and others, which several threads make.
  Outcome find_programs(cl_context context, const std::vector<gpu::KernelName>& names, const std::string& cache_folder,
                        std::map<ProgramName, std::shared_ptr<ClProgram>>* programs);
  Outcome make_program(cl_context context, const ProgramName& name, const std::string& cache_folder,
                       std::shared_ptr<ClProgram>* program) const;
  Outcome build(cl_program program, const std::string& file, const std::string& options) const;
  bool build_cached(cl_context context, const std::string& folder, const std::string& key, const std::string& options,
                    Owned<cl_program>* program) const;
  void keep_binary(cl_program program, const std::string& folder, const std::string& key) const;

  const Api& api_;
  const cl_device_id id_;
  const std::string platform_;
  gpu::Traits traits_;
  std::string options_;  // of the compiler, besides defines
  bool is_pocl_ = false;
  std::mutex mutex_;  // guards what follows
  Owned<cl_context> context_;
  // Those that plans in memory use, and others that the next plan may need: building takes longer than anything else.
  std::map<ProgramName, std::shared_ptr<ClProgram>> programs_;
};

// Strings and numbers of a device; empty or 0 if the driver does not tell.
std::string device_text(const Api& api, cl_device_id id, cl_device_info what);
template <class T>
T device_number(const Api& api, cl_device_id id, cl_device_info what) {
  T value{};
  return api.GetDeviceInfo(id, what, sizeof value, &value, nullptr) == CL_SUCCESS ? value : T{};
}

// What kernels are chosen by (traits.cpp).
gpu::Traits traits_of(const Api& api, cl_device_id id, const std::string& platform);

}  // namespace sparsenet::opencl

// A queue of commands on a device, in which everything runs in order.
#pragma once

#include "backends/opencl/device.h"

namespace sparsenet::opencl {

class ClQueue final : public gpu::Queue {
 public:
  ClQueue(const Api& api, cl_context context, cl_device_id device) : api_(api), context_(context), device_(device) {}
  Outcome open();

  Outcome upload(gpu::Buffer& to, uint64_t offset, const void* from, uint64_t bytes) override;
  Outcome download(const gpu::Buffer& from, uint64_t offset, void* to, uint64_t bytes) override;
  Outcome copy_from_handle(gpu::Buffer& to, uint64_t offset, const void* handle, uint64_t bytes) override;
  Outcome copy_to_handle(const gpu::Buffer& from, uint64_t offset, void* handle, uint64_t bytes) override;
  Outcome fill_zero(gpu::Buffer& to, uint64_t bytes) override;
  Outcome launch(const gpu::Kernel& kernel, const gpu::Launch& launch, gpu::Buffer& arena, gpu::Buffer& weights,
                 gpu::Buffer& scratch) override;
  Outcome finish() override;
  Outcome record(const std::vector<Call>& calls, gpu::Buffer& arena, gpu::Buffer& weights,
                 gpu::Buffer& scratch) override;
  Outcome run_recorded() override;
  Outcome run_timed(std::vector<double>* milliseconds) override;

 private:
  // A kernel of the queue's own, whose arguments are set for good.
  struct Recorded {
    Owned<cl_kernel> kernel;
    const gpu::Launch* launch;
  };

  Outcome make(cl_command_queue_properties properties, cl_context context, Owned<cl_command_queue>* queue) const;
  Outcome set_arguments(cl_kernel kernel, const gpu::Launch& launch, gpu::Buffer& arena, gpu::Buffer& weights,
                        gpu::Buffer& scratch) const;
  Outcome enqueue(cl_command_queue queue, cl_kernel kernel, const gpu::Launch& launch, cl_event* event) const;
  Outcome check_handle(cl_mem handle, uint64_t bytes, cl_context* context) const;
  // Copies between a buffer of ours and one of another context, through memory that the other one maps.
  Outcome copy_mapped(cl_mem ours, uint64_t offset, cl_mem theirs, cl_context context, uint64_t bytes, bool to_theirs);

  const Api& api_;
  const cl_context context_;
  const cl_device_id device_;
  Owned<cl_command_queue> queue_, timed_queue_;  // the second one, made on first use, tells times
  std::vector<Recorded> recorded_;
};

}  // namespace sparsenet::opencl

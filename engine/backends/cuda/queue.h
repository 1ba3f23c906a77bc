// CudaQueue: a stream. What is recorded becomes one graph of CUDA, so that a run is one call of the driver.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/objects.h"

namespace sparsenet::gpu::cuda {

class CudaQueue : public Queue {
 public:
  static Outcome make(std::shared_ptr<Context> context, std::unique_ptr<Queue>* queue);
  ~CudaQueue() override;

  Outcome upload(Buffer& to, uint64_t offset, const void* from, uint64_t bytes) override;
  Outcome download(const Buffer& from, uint64_t offset, void* to, uint64_t bytes) override;
  Outcome copy_from_handle(Buffer& to, uint64_t offset, const void* handle, uint64_t bytes) override;
  Outcome copy_to_handle(const Buffer& from, uint64_t offset, void* handle, uint64_t bytes) override;
  Outcome fill_zero(Buffer& to, uint64_t bytes) override;
  Outcome launch(const Kernel& kernel, const Launch& launch, Buffer& arena, Buffer& weights, Buffer& scratch) override;
  Outcome finish() override;
  Outcome record(const std::vector<Call>& calls, Buffer& arena, Buffer& weights, Buffer& scratch) override;
  Outcome run_recorded() override;
  Outcome run_timed(std::vector<double>* milliseconds) override;

 private:
  struct Memory {
    DevicePointer arena = 0, weights = 0, scratch = 0;
  };
  CudaQueue(std::shared_ptr<Context> context, StreamHandle stream) : context_(std::move(context)), stream_(stream) {}
  const DriverApi& api() const { return context_->api(); }
  Outcome synchronize();
  Outcome start(const Call& call, const Memory& memory);
  Outcome capture(GraphHandle* graph);
  void drop_recorded();

  std::shared_ptr<Context> context_;
  StreamHandle stream_;
  std::vector<Call> calls_;
  Memory memory_;
  GraphExecHandle exec_ = nullptr;  // of calls_; null if there are none
};

}  // namespace sparsenet::gpu::cuda

// Executor: what is behind a Session. It has the plan and runs it: on this machine's CPU (HostExecutor) or on a device
// through a plugin (PluginExecutor).
#pragma once

#include <sparsenet/session.h>
#include <sparsenet/status.h>

#include <memory>
#include <vector>

namespace sparsenet {

class Executor {
 public:
  Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  virtual ~Executor() = default;

  // As in Session, which has checked index and number of elements. The first two convert between real numbers and
  // integers where the port holds these; the others take elements of the port's type.
  virtual Status set_input(size_t index, const float* data) = 0;
  virtual Status get_output(size_t index, float* data) = 0;
  virtual Status set_input_elements(size_t index, const void* data) = 0;
  virtual Status get_output_elements(size_t index, void* data) = 0;
  virtual Status run(bool timed) = 0;

  virtual MemoryReport memory() const = 0;
  virtual const std::vector<StepInfo>& steps() const = 0;
  virtual int threads() const = 0;
  virtual int64_t images_at_once() const = 0;
  virtual bool uses_stored_plan() const = 0;

  const std::vector<TensorInfo>& inputs() const { return inputs_; }
  const std::vector<TensorInfo>& outputs() const { return outputs_; }
  const std::vector<BufferInfo>& buffers() const { return buffers_; }

 protected:
  std::vector<TensorInfo> inputs_, outputs_;
  std::vector<BufferInfo> buffers_;
};

// `stored`: the model whose plans may be used, or null. Errors are those of Session::create and Session::measure.
Result<std::unique_ptr<Executor>> make_host_executor(const Graph& graph, const Model* stored,
                                                     const SessionOptions& options);
Result<MemoryReport> measure_on_host(const Graph& graph, const Model* stored, const SessionOptions& options);
Result<std::unique_ptr<Executor>> make_plugin_executor(const Graph& graph, const Model* stored,
                                                       const SessionOptions& options);
Result<MemoryReport> measure_on_plugin(const Graph& graph, const Model* stored, const SessionOptions& options);

}  // namespace sparsenet

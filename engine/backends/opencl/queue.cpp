#include "backends/opencl/queue.h"

namespace sparsenet::opencl {
namespace {

cl_mem mem_of(const gpu::Buffer& buffer) {
  return static_cast<const ClBuffer&>(buffer).mem.get();
}

}  // namespace

Outcome ClQueue::make(cl_command_queue_properties properties, cl_context context,
                      Owned<cl_command_queue>* queue) const {
  cl_int code = CL_SUCCESS;
  Owned<cl_command_queue> made(api_.CreateCommandQueue(context, device_, properties, &code), api_.ReleaseCommandQueue);
  if (code != CL_SUCCESS) return outcome_of(code, "clCreateCommandQueue");
  *queue = std::move(made);
  return {};
}

Outcome ClQueue::open() {
  return make(0, context_, &queue_);
}

Outcome ClQueue::upload(gpu::Buffer& to, uint64_t offset, const void* from, uint64_t bytes) {
  return outcome_of(api_.EnqueueWriteBuffer(queue_.get(), mem_of(to), CL_TRUE, static_cast<size_t>(offset),
                                            static_cast<size_t>(bytes), from, 0, nullptr, nullptr),
                    "clEnqueueWriteBuffer");
}

Outcome ClQueue::download(const gpu::Buffer& from, uint64_t offset, void* to, uint64_t bytes) {
  return outcome_of(api_.EnqueueReadBuffer(queue_.get(), mem_of(from), CL_TRUE, static_cast<size_t>(offset),
                                           static_cast<size_t>(bytes), to, 0, nullptr, nullptr),
                    "clEnqueueReadBuffer");
}

Outcome ClQueue::check_handle(cl_mem handle, uint64_t bytes, cl_context* context) const {
  size_t available = 0;
  Outcome outcome = outcome_of(api_.GetMemObjectInfo(handle, CL_MEM_SIZE, sizeof available, &available, nullptr),
                               "clGetMemObjectInfo");
  if (outcome.ok())
    outcome = outcome_of(api_.GetMemObjectInfo(handle, CL_MEM_CONTEXT, sizeof *context, context, nullptr),
                         "clGetMemObjectInfo");
  if (outcome.ok() && available < bytes)
    return gpu::failure(SNP_INVALID_ARGUMENT, "the cl_mem has " + std::to_string(available) + " bytes, and " +
                                                  std::to_string(bytes) + " are needed");
  return outcome;
}

Outcome ClQueue::copy_mapped(cl_mem ours, uint64_t offset, cl_mem theirs, cl_context context, uint64_t bytes,
                             bool to_theirs) {
  Owned<cl_command_queue> queue;
  Outcome outcome = make(0, context, &queue);
  if (!outcome.ok()) return outcome;
  cl_int code = CL_SUCCESS;
  const cl_map_flags flags = to_theirs ? CL_MAP_WRITE_INVALIDATE_REGION : CL_MAP_READ;
  void* mapped = api_.EnqueueMapBuffer(queue.get(), theirs, CL_TRUE, flags, 0, static_cast<size_t>(bytes), 0, nullptr,
                                       nullptr, &code);
  if (code != CL_SUCCESS) return outcome_of(code, "clEnqueueMapBuffer of a cl_mem from another context");
  const size_t at = static_cast<size_t>(offset), size = static_cast<size_t>(bytes);
  if (to_theirs) {
    code = api_.EnqueueReadBuffer(queue_.get(), ours, CL_TRUE, at, size, mapped, 0, nullptr, nullptr);
  } else {
    code = api_.EnqueueWriteBuffer(queue_.get(), ours, CL_TRUE, at, size, mapped, 0, nullptr, nullptr);
  }
  outcome = outcome_of(code, to_theirs ? "clEnqueueReadBuffer" : "clEnqueueWriteBuffer");
  code = api_.EnqueueUnmapMemObject(queue.get(), theirs, mapped, 0, nullptr, nullptr);
  if (outcome.ok()) outcome = outcome_of(code, "clEnqueueUnmapMemObject");
  code = api_.Finish(queue.get());
  return outcome.ok() ? outcome_of(code, "clFinish") : outcome;
}

// A context cannot name another one's memory, and callers do not know ours: theirs is the usual case.
Outcome ClQueue::copy_from_handle(gpu::Buffer& to, uint64_t offset, const void* handle, uint64_t bytes) {
  const cl_mem theirs = static_cast<cl_mem>(const_cast<void*>(handle));
  cl_context context = nullptr;
  Outcome outcome = check_handle(theirs, bytes, &context);
  if (!outcome.ok()) return outcome;
  if (context != context_) return copy_mapped(mem_of(to), offset, theirs, context, bytes, false);
  outcome = outcome_of(api_.EnqueueCopyBuffer(queue_.get(), theirs, mem_of(to), 0, static_cast<size_t>(offset),
                                              static_cast<size_t>(bytes), 0, nullptr, nullptr),
                       "clEnqueueCopyBuffer");
  return outcome.ok() ? finish() : outcome;
}

Outcome ClQueue::copy_to_handle(const gpu::Buffer& from, uint64_t offset, void* handle, uint64_t bytes) {
  const cl_mem theirs = static_cast<cl_mem>(handle);
  cl_context context = nullptr;
  Outcome outcome = check_handle(theirs, bytes, &context);
  if (!outcome.ok()) return outcome;
  if (context != context_) return copy_mapped(mem_of(from), offset, theirs, context, bytes, true);
  outcome = outcome_of(api_.EnqueueCopyBuffer(queue_.get(), mem_of(from), theirs, static_cast<size_t>(offset), 0,
                                              static_cast<size_t>(bytes), 0, nullptr, nullptr),
                       "clEnqueueCopyBuffer");
  return outcome.ok() ? finish() : outcome;
}

Outcome ClQueue::fill_zero(gpu::Buffer& to, uint64_t bytes) {
  const uint8_t zero = 0;
  return outcome_of(api_.EnqueueFillBuffer(queue_.get(), mem_of(to), &zero, sizeof zero, 0, static_cast<size_t>(bytes),
                                           0, nullptr, nullptr),
                    "clEnqueueFillBuffer");
}

Outcome ClQueue::set_arguments(cl_kernel kernel, const gpu::Launch& launch, gpu::Buffer& arena, gpu::Buffer& weights,
                               gpu::Buffer& scratch) const {
  const cl_mem blocks[] = {mem_of(arena), mem_of(weights), mem_of(scratch)};
  cl_int code = CL_SUCCESS;
  for (cl_uint i = 0; i < 3 && code == CL_SUCCESS; ++i)
    code = api_.SetKernelArg(kernel, i, sizeof blocks[i], &blocks[i]);
  if (code == CL_SUCCESS) code = api_.SetKernelArg(kernel, 3, launch.params.size(), launch.params.data());
  return code == CL_SUCCESS ? Outcome() : outcome_of(code, ("clSetKernelArg of " + launch.kernel.entry).c_str());
}

Outcome ClQueue::enqueue(cl_command_queue queue, cl_kernel kernel, const gpu::Launch& launch, cl_event* event) const {
  size_t global[3], local[3];
  for (size_t d = 0; d < 3; ++d) {
    local[d] = launch.group[d];
    global[d] = local[d] * launch.groups[d];
  }
  const cl_int code = api_.EnqueueNDRangeKernel(queue, kernel, 3, nullptr, global, local, 0, nullptr, event);
  return code == CL_SUCCESS ? Outcome()
                            : outcome_of(code, ("clEnqueueNDRangeKernel of " + launch.kernel.entry).c_str());
}

Outcome ClQueue::launch(const gpu::Kernel& kernel, const gpu::Launch& launch, gpu::Buffer& arena, gpu::Buffer& weights,
                        gpu::Buffer& scratch) {
  const ClKernel& compiled = static_cast<const ClKernel&>(kernel);
  const std::lock_guard<std::mutex> lock(compiled.mutex);
  const Outcome outcome = set_arguments(compiled.kernel.get(), launch, arena, weights, scratch);
  return outcome.ok() ? enqueue(queue_.get(), compiled.kernel.get(), launch, nullptr) : outcome;
}

Outcome ClQueue::finish() {
  return outcome_of(api_.Finish(queue_.get()), "clFinish");
}

Outcome ClQueue::record(const std::vector<Call>& calls, gpu::Buffer& arena, gpu::Buffer& weights,
                        gpu::Buffer& scratch) {
  recorded_.clear();
  recorded_.reserve(calls.size());
  for (const Call& call : calls) {
    const ClKernel& compiled = static_cast<const ClKernel&>(*call.kernel);
    cl_int code = CL_SUCCESS;
    Owned<cl_kernel> kernel(api_.CreateKernel(compiled.program->program.get(), compiled.entry.c_str(), &code),
                            api_.ReleaseKernel);
    if (code != CL_SUCCESS) return outcome_of(code, ("clCreateKernel of " + compiled.entry).c_str());

    // A kernel that needs many registers may run in smaller groups only.
    const std::array<uint32_t, 3>& group = call.launch->group;
    const size_t threads = size_t{group[0]} * group[1] * group[2];
    size_t most = 0;
    code = api_.GetKernelWorkGroupInfo(kernel.get(), device_, CL_KERNEL_WORK_GROUP_SIZE, sizeof most, &most, nullptr);
    if (code != CL_SUCCESS) return outcome_of(code, "clGetKernelWorkGroupInfo");
    if (most < threads)
      return gpu::failure(SNP_UNSUPPORTED, "the device runs kernel " + compiled.entry + " in groups of at most " +
                                               std::to_string(most) + " threads, and it is made for " +
                                               std::to_string(threads));
    const Outcome outcome = set_arguments(kernel.get(), *call.launch, arena, weights, scratch);
    if (!outcome.ok()) return outcome;
    recorded_.push_back({std::move(kernel), call.launch});
  }
  return {};
}

Outcome ClQueue::run_recorded() {
  for (const Recorded& recorded : recorded_) {
    const Outcome outcome = enqueue(queue_.get(), recorded.kernel.get(), *recorded.launch, nullptr);
    if (!outcome.ok()) return outcome;
  }
  return outcome_of(api_.Flush(queue_.get()), "clFlush");
}

Outcome ClQueue::run_timed(std::vector<double>* milliseconds) {
  Outcome outcome = finish();  // of the other queue, which this one does not wait for
  if (outcome.ok() && !timed_queue_) outcome = make(CL_QUEUE_PROFILING_ENABLE, context_, &timed_queue_);
  if (!outcome.ok()) return outcome;
  std::vector<Owned<cl_event>> events;
  events.reserve(recorded_.size());
  for (const Recorded& recorded : recorded_) {
    cl_event event = nullptr;
    outcome = enqueue(timed_queue_.get(), recorded.kernel.get(), *recorded.launch, &event);
    if (!outcome.ok()) break;
    events.emplace_back(event, api_.ReleaseEvent);
  }
  // Also after a failure: nothing of this queue may run when the other one is used.
  const Outcome finished = outcome_of(api_.Finish(timed_queue_.get()), "clFinish");
  if (outcome.ok()) outcome = finished;
  if (!outcome.ok()) return outcome;
  milliseconds->clear();
  for (const Owned<cl_event>& event : events) {
    cl_ulong start = 0, end = 0;
    cl_int code = api_.GetEventProfilingInfo(event.get(), CL_PROFILING_COMMAND_START, sizeof start, &start, nullptr);
    if (code == CL_SUCCESS)
      code = api_.GetEventProfilingInfo(event.get(), CL_PROFILING_COMMAND_END, sizeof end, &end, nullptr);
    if (code != CL_SUCCESS) return outcome_of(code, "clGetEventProfilingInfo");
    milliseconds->push_back(end > start ? static_cast<double>(end - start) * 1e-6 : 0.0);
  }
  return {};
}

}  // namespace sparsenet::opencl

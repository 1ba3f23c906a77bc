#include "backends/cuda/queue.h"

namespace sparsenet::gpu::cuda {
namespace {

const CudaBuffer& cuda(const Buffer& buffer) {
  return static_cast<const CudaBuffer&>(buffer);
}

Outcome check_range(const Buffer& buffer, uint64_t offset, uint64_t bytes) {
  const uint64_t size = cuda(buffer).bytes();
  if (offset <= size && bytes <= size - offset) return {};
  return failure(SNP_INVALID_ARGUMENT, std::to_string(bytes) + " bytes at " + std::to_string(offset) +
                                           " do not lie in " + std::to_string(size) + " bytes of device memory");
}

std::string describe(const Launch& launch) {
  const auto product = [](const std::array<uint32_t, 3>& n) {
    return std::to_string(n[0]) + "x" + std::to_string(n[1]) + "x" + std::to_string(n[2]);
  };
  return launch.kernel.entry + ", " + product(launch.groups) + " groups of " + product(launch.group);
}

DevicePointer pointer_of(const void* handle) {
  return static_cast<DevicePointer>(reinterpret_cast<uintptr_t>(handle));
}

// The events around the calls of a timed run.
class Events {
 public:
  explicit Events(const DriverApi& api) : api_(api) {}
  ~Events() {
    for (EventHandle event : events_) api_.cuEventDestroy_v2(event);
  }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;
  Outcome make(size_t count) {
    events_.reserve(count);
    while (events_.size() < count) {
      EventHandle event = nullptr;
      const Outcome outcome = api_.check(api_.cuEventCreate(&event, 0), "cuEventCreate");
      if (!outcome.ok()) return outcome;
      events_.push_back(event);
    }
    return {};
  }
  EventHandle operator[](size_t i) const { return events_[i]; }

 private:
  const DriverApi& api_;
  std::vector<EventHandle> events_;
};

}  // namespace

Outcome CudaQueue::make(std::shared_ptr<Context> context, std::unique_ptr<Queue>* queue) {
  const Current current(*context);
  if (!current.outcome().ok()) return current.outcome();
  const DriverApi& api = context->api();
  StreamHandle stream = nullptr;
  // Non-blocking: what the program does on the default stream neither waits for us nor makes us wait.
  Outcome outcome = api.check(api.cuStreamCreate(&stream, kStreamNonBlocking), "cuStreamCreate");
  if (outcome.ok()) queue->reset(new CudaQueue(context, stream));
  return outcome;
}

CudaQueue::~CudaQueue() {
  const Current current(*context_);
  if (!current.outcome().ok()) return;
  api().cuStreamSynchronize(stream_);
  drop_recorded();
  api().cuStreamDestroy_v2(stream_);
}

Outcome CudaQueue::synchronize() {
  return api().check(api().cuStreamSynchronize(stream_), "cuStreamSynchronize");
}

Outcome CudaQueue::upload(Buffer& to, uint64_t offset, const void* from, uint64_t bytes) {
  if (bytes == 0) return {};
  Outcome outcome = check_range(to, offset, bytes);
  if (!outcome.ok()) return outcome;
  const Current current(*context_);
  if (!current.outcome().ok()) return current.outcome();
  outcome =
      api().check(api().cuMemcpyHtoDAsync_v2(cuda(to).pointer() + offset, from, static_cast<size_t>(bytes), stream_),
                  "cuMemcpyHtoDAsync_v2", std::to_string(bytes) + " bytes");
  return outcome.ok() ? synchronize() : outcome;  // memory that the caller has pinned is read until then
}

Outcome CudaQueue::download(const Buffer& from, uint64_t offset, void* to, uint64_t bytes) {
  if (bytes == 0) return {};
  Outcome outcome = check_range(from, offset, bytes);
  if (!outcome.ok()) return outcome;
  const Current current(*context_);
  if (!current.outcome().ok()) return current.outcome();
  outcome =
      api().check(api().cuMemcpyDtoHAsync_v2(to, cuda(from).pointer() + offset, static_cast<size_t>(bytes), stream_),
                  "cuMemcpyDtoHAsync_v2", std::to_string(bytes) + " bytes");
  return outcome.ok() ? synchronize() : outcome;
}

Outcome CudaQueue::copy_from_handle(Buffer& to, uint64_t offset, const void* handle, uint64_t bytes) {
  if (bytes == 0) return {};
  Outcome outcome = check_range(to, offset, bytes);
  if (!outcome.ok()) return outcome;
  const Current current(*context_);
  if (!current.outcome().ok()) return current.outcome();
  outcome = api().check(
      api().cuMemcpyDtoDAsync_v2(cuda(to).pointer() + offset, pointer_of(handle), static_cast<size_t>(bytes), stream_),
      "cuMemcpyDtoDAsync_v2", std::to_string(bytes) + " bytes from the caller's memory");
  return outcome.ok() ? synchronize() : outcome;
}

Outcome CudaQueue::copy_to_handle(const Buffer& from, uint64_t offset, void* handle, uint64_t bytes) {
  if (bytes == 0) return {};
  Outcome outcome = check_range(from, offset, bytes);
  if (!outcome.ok()) return outcome;
  const Current current(*context_);
  if (!current.outcome().ok()) return current.outcome();
  outcome = api().check(api().cuMemcpyDtoDAsync_v2(pointer_of(handle), cuda(from).pointer() + offset,
                                                   static_cast<size_t>(bytes), stream_),
                        "cuMemcpyDtoDAsync_v2", std::to_string(bytes) + " bytes to the caller's memory");
  return outcome.ok() ? synchronize() : outcome;
}

Outcome CudaQueue::fill_zero(Buffer& to, uint64_t bytes) {
  if (bytes == 0) return {};
  const Outcome outcome = check_range(to, 0, bytes);
  if (!outcome.ok()) return outcome;
  const Current current(*context_);
  if (!current.outcome().ok()) return current.outcome();
  return api().check(api().cuMemsetD8Async(cuda(to).pointer(), 0, static_cast<size_t>(bytes), stream_),
                     "cuMemsetD8Async", std::to_string(bytes) + " bytes");
}

Outcome CudaQueue::start(const Call& call, const Memory& memory) {
  const Launch& launch = *call.launch;
  Memory blocks = memory;
  // The driver reads the arguments, whatever its interface says, and has copied them when it returns.
  void* arguments[] = {&blocks.arena, &blocks.weights, &blocks.scratch, const_cast<uint8_t*>(launch.params.data())};
  const Result result = api().cuLaunchKernel(static_cast<const CudaKernel*>(call.kernel)->function(), launch.groups[0],
                                             launch.groups[1], launch.groups[2], launch.group[0], launch.group[1],
                                             launch.group[2], 0, stream_, arguments, nullptr);
  return result == kSuccess ? Outcome() : api().check(result, "cuLaunchKernel", describe(launch));
}

Outcome CudaQueue::launch(const Kernel& kernel, const Launch& launch, Buffer& arena, Buffer& weights, Buffer& scratch) {
  const Current current(*context_);
  if (!current.outcome().ok()) return current.outcome();
  return start({&kernel, &launch}, {cuda(arena).pointer(), cuda(weights).pointer(), cuda(scratch).pointer()});
}

Outcome CudaQueue::finish() {
  const Current current(*context_);
  return current.outcome().ok() ? synchronize() : current.outcome();
}

void CudaQueue::drop_recorded() {
  if (exec_) api().cuGraphExecDestroy(exec_);
  exec_ = nullptr;
  calls_.clear();
}

// Launches between begin and end run nothing: they become nodes, each behind the one before. A capture that failed has
// to be ended too, or the stream would be of no use.
Outcome CudaQueue::capture(GraphHandle* graph) {
  Outcome outcome = api().check(api().cuStreamBeginCapture_v2(stream_, kCaptureThreadLocal), "cuStreamBeginCapture_v2");
  if (!outcome.ok()) return outcome;
  for (const Call& call : calls_) {
    outcome = start(call, memory_);
    if (!outcome.ok()) break;
  }
  const Result ended = api().cuStreamEndCapture(stream_, graph);
  return outcome.ok() ? api().check(ended, "cuStreamEndCapture") : outcome;
}

Outcome CudaQueue::record(const std::vector<Call>& calls, Buffer& arena, Buffer& weights, Buffer& scratch) {
  const Current current(*context_);
  if (!current.outcome().ok()) return current.outcome();
  Outcome outcome = synchronize();  // the earlier graph may still run
  if (!outcome.ok()) return outcome;
  drop_recorded();
  calls_ = calls;
  memory_ = {cuda(arena).pointer(), cuda(weights).pointer(), cuda(scratch).pointer()};
  if (calls_.empty()) return {};

  GraphHandle graph = nullptr;
  outcome = capture(&graph);
  if (outcome.ok())
    outcome = api().check(api().cuGraphInstantiateWithFlags(&exec_, graph, 0), "cuGraphInstantiateWithFlags",
                          std::to_string(calls_.size()) + " launches");
  if (graph) api().cuGraphDestroy(graph);
  if (!outcome.ok()) {
    exec_ = nullptr;
    calls_.clear();
  }
  return outcome;
}

Outcome CudaQueue::run_recorded() {
  if (!exec_) return {};
  const Current current(*context_);
  if (!current.outcome().ok()) return current.outcome();
  return api().check(api().cuGraphLaunch(exec_, stream_), "cuGraphLaunch");
}

Outcome CudaQueue::run_timed(std::vector<double>* milliseconds) {
  milliseconds->assign(calls_.size(), 0.0);
  if (calls_.empty()) return {};
  const Current current(*context_);
  if (!current.outcome().ok()) return current.outcome();
  Events events(api());
  Outcome outcome = events.make(calls_.size() + 1);
  for (size_t i = 0; outcome.ok() && i <= calls_.size(); ++i) {
    if (i > 0) outcome = start(calls_[i - 1], memory_);
    if (outcome.ok()) outcome = api().check(api().cuEventRecord(events[i], stream_), "cuEventRecord");
  }
  const Outcome waited = synchronize();  // in any case: events are not destroyed while they are awaited
  if (outcome.ok()) outcome = waited;
  for (size_t i = 0; outcome.ok() && i < calls_.size(); ++i) {
    float elapsed = 0;
    outcome = api().check(api().cuEventElapsedTime(&elapsed, events[i], events[i + 1]), "cuEventElapsedTime");
    (*milliseconds)[i] = static_cast<double>(elapsed);
  }
  return outcome;
}

}  // namespace sparsenet::gpu::cuda

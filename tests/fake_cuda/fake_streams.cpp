// The fake driver's functions for streams, copies, launches, graphs and events. See fake_cuda.h.
#include <chrono>
#include <cstring>

#include "tests/fake_cuda/call.h"

using namespace sparsenet::gpu::cuda;
using fake::Call;

namespace {

constexpr unsigned kMostGridX = 0x7fffffff, kMostGridYZ = 65535, kMostThreads = 1024, kMostBlockZ = 64;
constexpr size_t kMostSharedBytes = 49152;
constexpr int kMostParameterBytes = 4096;

// Puts work on a stream, or into the graph that is being captured from it.
Result enqueue(Call& call, StreamHandle handle, const fake::Context* context, bool is_for_graphs, fake::Work work) {
  const auto stream = call.find(call.books().streams, handle, context);
  if (!stream) return fake::kInvalidHandle;
  if (!stream->capture) {
    stream->pending.push_back(std::move(work));
    return kSuccess;
  }
  if (!is_for_graphs) {
    stream->is_capture_invalid = true;
    return call.misused("not while the stream is captured", fake::kCaptureUnsupported);
  }
  stream->capture->nodes.push_back(std::move(work));
  return kSuccess;
}

// Work finds its memory when it is enqueued; by the time it runs, the memory may be gone.
Result check_live(const fake::Memory& block) {
  return block.is_freed ? fake::Books::get().misused("work runs on memory that has been freed", kIllegalAddress) : 0;
}

bool is_extent(unsigned x, unsigned y, unsigned z, unsigned most_x, unsigned most_y, unsigned most_z) {
  return x >= 1 && y >= 1 && z >= 1 && x <= most_x && y <= most_y && z <= most_z;
}

struct LaunchWork {
  std::shared_ptr<fake::Function> function;
  std::array<std::shared_ptr<fake::Memory>, 3> blocks;
  std::vector<uint8_t> params;
  std::array<size_t, 3> groups;

  Result operator()() const {
    fake::Books& books = fake::Books::get();
    if (function->is_unloaded) return books.misused("a kernel runs whose module has been unloaded", kIllegalAddress);
    std::array<cl_mem, 3> memory{};
    for (size_t i = 0; i < 3; ++i) {
      if (!blocks[i]) continue;
      if (const Result result = check_live(*blocks[i])) return result;
      memory[i] = blocks[i]->buffer;
    }
    const std::string error = books.runner.run(function->kernel, memory, params, groups);
    return error.empty() ? 0 : books.failed(function->name + ": " + error);
  }
};

}  // namespace

FAKE_EXPORT Result cuStreamCreate(StreamHandle* handle, unsigned flags) {
  Call call("cuStreamCreate");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin(&context, &result)) return result;
  if (!handle || flags > kStreamNonBlocking) return call.misused("unknown flags", fake::kInvalidValue);
  auto stream = std::make_shared<fake::Stream>();
  stream->context = context;
  *handle = call.books().streams.add(stream);
  return kSuccess;
}

FAKE_EXPORT Result cuStreamDestroy_v2(StreamHandle handle) {
  Call call("cuStreamDestroy_v2");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin_release(&context, &result)) return result;
  const auto stream = call.find(call.books().streams, handle, context);
  if (!stream) return fake::kInvalidHandle;
  if (stream->capture) call.misused("the stream is being captured", 0);
  call.books().run(*stream);
  call.books().streams.remove(handle);
  return result;
}

// Where it is to fail, the work that waits is lost, as on a device that has failed.
FAKE_EXPORT Result cuStreamSynchronize(StreamHandle handle) {
  Call call("cuStreamSynchronize");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin_release(&context, &result)) return result;
  const auto stream = call.find(call.books().streams, handle, context);
  if (!stream) return fake::kInvalidHandle;
  if (stream->capture) {
    stream->is_capture_invalid = true;
    return call.misused("not while the stream is captured", fake::kCaptureUnsupported);
  }
  if (result) stream->pending.clear();
  return result ? result : call.books().run(*stream);
}

FAKE_EXPORT Result cuMemcpyHtoDAsync_v2(DevicePointer to, const void* from, size_t bytes, StreamHandle stream) {
  Call call("cuMemcpyHtoDAsync_v2");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin(&context, &result)) return result;
  const auto block = call.books().find(to, bytes);
  if (!block || !from) return fake::kInvalidValue;
  return enqueue(call, stream, context, false, [block, to, from, bytes]() -> Result {
    if (const Result freed = check_live(*block)) return freed;
    fake::Books& books = fake::Books::get();
    return books.failed(books.runner.write(block->buffer, to - block->address, from, bytes));
  });
}

FAKE_EXPORT Result cuMemcpyDtoHAsync_v2(void* to, DevicePointer from, size_t bytes, StreamHandle stream) {
  Call call("cuMemcpyDtoHAsync_v2");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin(&context, &result)) return result;
  const auto block = call.books().find(from, bytes);
  if (!block || !to) return fake::kInvalidValue;
  return enqueue(call, stream, context, false, [block, to, from, bytes]() -> Result {
    if (const Result freed = check_live(*block)) return freed;
    fake::Books& books = fake::Books::get();
    return books.failed(books.runner.read(block->buffer, from - block->address, to, bytes));
  });
}

FAKE_EXPORT Result cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, size_t bytes, StreamHandle stream) {
  Call call("cuMemcpyDtoDAsync_v2");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin(&context, &result)) return result;
  const auto source = call.books().find(from, bytes);
  const auto block = call.books().find(to, bytes);
  if (!block || !source) return fake::kInvalidValue;
  if (block == source && to < from + bytes && from < to + bytes)
    return call.misused("source and destination overlap", fake::kInvalidValue);
  return enqueue(call, stream, context, true, [block, source, to, from, bytes]() -> Result {
    if (const Result freed = check_live(*block)) return freed;
    if (const Result freed = check_live(*source)) return freed;
    fake::Books& books = fake::Books::get();
    return books.failed(
        books.runner.copy(block->buffer, to - block->address, source->buffer, from - source->address, bytes));
  });
}

FAKE_EXPORT Result cuMemsetD8Async(DevicePointer to, unsigned char value, size_t bytes, StreamHandle stream) {
  Call call("cuMemsetD8Async");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin(&context, &result)) return result;
  const auto block = call.books().find(to, bytes);
  if (!block) return fake::kInvalidValue;
  return enqueue(call, stream, context, true, [block, to, value, bytes]() -> Result {
    if (const Result freed = check_live(*block)) return freed;
    fake::Books& books = fake::Books::get();
    return books.failed(books.runner.fill(block->buffer, to - block->address, value, bytes));
  });
}

FAKE_EXPORT Result cuLaunchKernel(FunctionHandle handle, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                  unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                                  StreamHandle stream, void** arguments, void** extra) {
  Call call("cuLaunchKernel");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin(&context, &result)) return result;
  LaunchWork work;
  work.function = call.find(call.books().functions, handle, context);
  if (!work.function) return fake::kInvalidHandle;
  const std::string name = work.function->name;
  if (!is_extent(grid_x, grid_y, grid_z, kMostGridX, kMostGridYZ, kMostGridYZ))
    return call.misused(name + ": a grid that no device has", fake::kInvalidValue);
  if (!is_extent(block_x, block_y, block_z, kMostThreads, kMostThreads, kMostBlockZ) ||
      size_t{block_x} * block_y * block_z > kMostThreads)
    return call.misused(name + ": a block that no device has", fake::kInvalidValue);
  if (work.function->kernel.group != std::array<size_t, 3>{block_x, block_y, block_z})
    return call.misused(name + ": a block that the kernel was not compiled for", fake::kInvalidValue);
  if (shared_bytes != 0 || work.function->kernel.local_bytes > kMostSharedBytes)
    return call.misused(name + ": more shared memory than devices have", kLaunchOutOfResources);
  if (!arguments || extra) return call.misused(name + ": no arguments, or both kinds", fake::kInvalidValue);
  for (size_t i = 0; i < 4; ++i)
    if (!arguments[i]) return call.misused(name + ": an argument is missing", fake::kInvalidValue);

  for (size_t i = 0; i < 3; ++i) {
    DevicePointer pointer = 0;
    std::memcpy(&pointer, arguments[i], sizeof(pointer));
    if (pointer == 0) continue;
    work.blocks[i] = call.books().find(pointer, 1);
    if (!work.blocks[i]) return call.misused(name + ": a pointer to no memory", kIllegalAddress);
    if (work.blocks[i]->address != pointer || work.blocks[i]->context != context)
      return call.misused(name + ": a pointer into the middle of memory, or of another context", kIllegalAddress);
  }
  int size = 0;
  std::memcpy(&size, arguments[3], sizeof(size));
  if (size < 4 || size > kMostParameterBytes || size % 4 != 0)
    return call.misused(name + ": a structure of " + std::to_string(size) + " bytes", fake::kInvalidValue);
  const auto* bytes = static_cast<const uint8_t*>(arguments[3]);
  work.params.assign(bytes, bytes + size);
  work.groups = {grid_x, grid_y, grid_z};
  return enqueue(call, stream, context, true, std::move(work));
}

FAKE_EXPORT Result cuStreamBeginCapture_v2(StreamHandle handle, int mode) {
  Call call("cuStreamBeginCapture_v2");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin(&context, &result)) return result;
  const auto stream = call.find(call.books().streams, handle, context);
  if (!stream) return fake::kInvalidHandle;
  if (stream->capture || mode < 0 || mode > 2) return call.misused("captured already, or no mode", fake::kInvalidValue);
  stream->capture = std::make_shared<fake::Graph>();
  stream->capture->context = context;
  stream->is_capture_invalid = false;
  return kSuccess;
}

// A capture ends even where an error is asked for, as it does where it has been invalidated.
FAKE_EXPORT Result cuStreamEndCapture(StreamHandle handle, GraphHandle* graph) {
  Call call("cuStreamEndCapture");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin_release(&context, &result)) return result;
  const auto stream = call.find(call.books().streams, handle, context);
  if (!stream || !graph) return fake::kInvalidHandle;
  if (!stream->capture) return call.misused("the stream is not being captured", fake::kInvalidValue);
  std::shared_ptr<fake::Graph> captured;
  captured.swap(stream->capture);
  *graph = nullptr;
  if (result) return result;
  if (stream->is_capture_invalid) return fake::kCaptureInvalidated;
  *graph = call.books().graphs.add(captured);
  return kSuccess;
}

FAKE_EXPORT Result cuGraphInstantiateWithFlags(GraphExecHandle* exec, GraphHandle handle, unsigned long long flags) {
  Call call("cuGraphInstantiateWithFlags");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin(&context, &result)) return result;
  const auto graph = call.find(call.books().graphs, handle, context);
  if (!graph || !exec || flags != 0) return fake::kInvalidValue;
  *exec = call.books().execs.add(std::make_shared<fake::Graph>(*graph));
  return kSuccess;
}

FAKE_EXPORT Result cuGraphLaunch(GraphExecHandle exec, StreamHandle handle) {
  Call call("cuGraphLaunch");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin(&context, &result)) return result;
  const auto graph = call.find(call.books().execs, exec, context);
  if (!graph) return fake::kInvalidHandle;
  for (const fake::Work& node : graph->nodes) {
    const Result enqueued = enqueue(call, handle, context, false, node);
    if (enqueued) return enqueued;
  }
  return kSuccess;
}

FAKE_EXPORT Result cuGraphDestroy(GraphHandle handle) {
  Call call("cuGraphDestroy");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin_release(&context, &result)) return result;
  if (!call.find(call.books().graphs, handle, context)) return fake::kInvalidHandle;
  call.books().graphs.remove(handle);
  return result;
}

FAKE_EXPORT Result cuGraphExecDestroy(GraphExecHandle exec) {
  Call call("cuGraphExecDestroy");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin_release(&context, &result)) return result;
  if (!call.find(call.books().execs, exec, context)) return fake::kInvalidHandle;
  call.books().execs.remove(exec);
  return result;
}

FAKE_EXPORT Result cuEventCreate(EventHandle* handle, unsigned flags) {
  Call call("cuEventCreate");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin(&context, &result)) return result;
  if (!handle || flags != 0) return call.misused("flags without timing", fake::kInvalidValue);
  auto event = std::make_shared<fake::Event>();
  event->context = context;
  *handle = call.books().events.add(event);
  return kSuccess;
}

FAKE_EXPORT Result cuEventDestroy_v2(EventHandle handle) {
  Call call("cuEventDestroy_v2");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin_release(&context, &result)) return result;
  if (!call.find(call.books().events, handle, context)) return fake::kInvalidHandle;
  call.books().events.remove(handle);
  return result;
}

FAKE_EXPORT Result cuEventRecord(EventHandle handle, StreamHandle stream) {
  Call call("cuEventRecord");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin(&context, &result)) return result;
  const auto event = call.find(call.books().events, handle, context);
  if (!event) return fake::kInvalidHandle;
  result = enqueue(call, stream, context, false, [event]() -> Result {
    --event->pending;
    event->is_recorded = true;
    event->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
    return kSuccess;
  });
  if (result == kSuccess) ++event->pending;
  return result;
}

FAKE_EXPORT Result cuEventElapsedTime(float* milliseconds, EventHandle from, EventHandle to) {
  Call call("cuEventElapsedTime");
  fake::Context* context = nullptr;
  Result result;
  if (!call.begin(&context, &result)) return result;
  const auto first = call.find(call.books().events, from, context);
  const auto last = call.find(call.books().events, to, context);
  if (!first || !last || !milliseconds) return fake::kInvalidHandle;
  if (first->pending || last->pending) return call.misused("the events are not awaited", fake::kNotReady);
  if (!first->is_recorded || !last->is_recorded)
    return call.misused("an event that was not recorded", fake::kInvalidHandle);
  *milliseconds = static_cast<float>((last->seconds - first->seconds) * 1e3);
  return kSuccess;
}

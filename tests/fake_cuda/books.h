// Books: everything that the fake driver has handed out, with the work that waits. One lock guards it all.
#pragma once

#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "backends/cuda/driver_api.h"
#include "tests/fake_cuda/faults.h"
#include "tests/fake_cuda/opencl_runner.h"

namespace fake {

using sparsenet::gpu::cuda::DevicePointer;
using sparsenet::gpu::cuda::Result;

// Of CUresult, besides those that the plugin names.
constexpr Result kInvalidValue = 1;
constexpr Result kNotInitialized = 3;
constexpr Result kInvalidDevice = 101;
constexpr Result kInvalidContext = 201;
constexpr Result kInvalidHandle = 400;
constexpr Result kNotFound = 500;
constexpr Result kNotReady = 600;
constexpr Result kLaunchFailed = 719;
constexpr Result kCaptureUnsupported = 900;
constexpr Result kCaptureInvalidated = 901;

// Objects by handle. Handles are numbers that are never used twice, so one that is dead is found out.
template <class Object, class Handle>
class Registry {
 public:
  explicit Registry(uintptr_t first) : next_(first) {}
  Handle add(std::shared_ptr<Object> object) {
    const uintptr_t number = next_;
    next_ += 16;
    objects_[number] = std::move(object);
    return reinterpret_cast<Handle>(number);
  }
  std::shared_ptr<Object> find(Handle handle) const {
    const auto at = objects_.find(reinterpret_cast<uintptr_t>(handle));
    return at == objects_.end() ? nullptr : at->second;
  }
  // Removes all objects of a context, and returns how many there were.
  size_t remove_all(const void* context) {
    size_t count = 0;
    for (auto at = objects_.begin(); at != objects_.end();) {
      const bool is_its = at->second->context == context;
      at = is_its ? objects_.erase(at) : std::next(at);
      count += is_its;
    }
    return count;
  }
  void remove(Handle handle) { objects_.erase(reinterpret_cast<uintptr_t>(handle)); }
  const std::map<uintptr_t, std::shared_ptr<Object>>& all() const { return objects_; }

 private:
  uintptr_t next_;
  std::map<uintptr_t, std::shared_ptr<Object>> objects_;
};

struct Context {
  int device = 0;
  unsigned retained = 0;
  Result lost = 0;               // a fault after which every call in the context fails
  bool is_out_of_reach = false;  // it could not be made current when that was asked for: what is in it goes with it
};

struct Memory {
  Context* context = nullptr;
  DevicePointer address = 0;
  size_t bytes = 0;
  cl_mem buffer = nullptr;  // with a guard behind it
  bool is_freed = false;
};

struct Module {
  Context* context = nullptr;
  cl_program program = nullptr;
  std::vector<sparsenet::gpu::cuda::FunctionHandle> functions;
};

struct Function {
  Context* context = nullptr;
  std::string name;
  OpenClRunner::Kernel kernel;
  bool is_unloaded = false;
  ~Function() {
    if (kernel.handle) clReleaseKernel(kernel.handle);
  }
};

// Work on a stream. Returns a fault, with which the context is lost, or 0.
using Work = std::function<Result()>;

struct Graph {
  Context* context = nullptr;
  std::vector<Work> nodes;
};

struct Stream {
  Context* context = nullptr;
  std::vector<Work> pending;
  std::shared_ptr<Graph> capture;  // null: work is not captured
  bool is_capture_invalid = false;
};

struct Event {
  Context* context = nullptr;
  unsigned pending = 0;
  bool is_recorded = false;
  double seconds = 0;
};

class Books {
 public:
  static Books& get();

  std::mutex mutex;
  Faults faults;
  OpenClRunner runner;
  bool is_initialized = false;
  std::map<int, Context> contexts;  // primary ones, by device
  Registry<Module, sparsenet::gpu::cuda::ModuleHandle> modules{0x10000000};
  Registry<Function, sparsenet::gpu::cuda::FunctionHandle> functions{0x20000000};
  Registry<Stream, sparsenet::gpu::cuda::StreamHandle> streams{0x30000000};
  Registry<Event, sparsenet::gpu::cuda::EventHandle> events{0x40000000};
  Registry<Graph, sparsenet::gpu::cuda::GraphHandle> graphs{0x50000000};
  Registry<Graph, sparsenet::gpu::cuda::GraphExecHandle> execs{0x60000000};
  std::map<DevicePointer, std::shared_ptr<Memory>> memory;

  // Notes a misuse, and returns the code.
  Result misused(const std::string& what, Result code);
  // What a failing OpenCL call says; 0 if the text is empty.
  Result failed(const std::string& error);

  // The memory that a range lies in; null, and a misuse, if it lies in none.
  std::shared_ptr<Memory> find(DevicePointer pointer, size_t bytes);
  Result allocate(Context* context, size_t bytes, DevicePointer* pointer);
  void free(const std::shared_ptr<Memory>& block);
  // Frees all that is left in a context that nobody retains any more.
  void end(Context* context);

  // Runs what waits on a stream, or on all streams of a context.
  Result run(Stream& stream);
  Result run_all(Context* context);

  std::string report(size_t* count);  // forgets the misuses

 private:
  Books();
  DevicePointer next_address_ = 0, end_of_addresses_ = 0;
  std::vector<std::string> misuses_;
};

// The calling thread's contexts; the last one is current.
std::vector<Context*>& context_stack();

}  // namespace fake

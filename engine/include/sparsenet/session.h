// Session: a graph planned for one batch size and bound to one backend, ready to run.
//
//   auto model = sparsenet::load_model("net.snet");
//   auto session = sparsenet::Session::create(*model, {});
//   session->set_input(0, pixels, count);   // NCHW float32
//   session->run();
//   session->get_output(0, logits, classes);
//
// Memory: create() allocates everything; run() allocates nothing. (oneDNN, where that backend is asked for, makes a
// constant number of small allocations of its own in each run and frees them within it.) Thread safety: one session may
// be used by one thread at a time; different sessions are independent, also of one model.
//
// fork(): a child may go on with the sessions that no thread was running at the time, whatever their number of threads:
// it starts threads of its own at its first run. With kOneDnn only sessions of one thread work there: OpenMP's threads
// do not survive, and where the parent has used them, run() and create() with more are kUnsupported.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sparsenet {

struct Model;  // sparsenet/model.h

enum class Backend : uint8_t {
  kAuto = 0,      // for every step the fastest backend that supports it, by a fixed table
  kPortable = 1,  // our own kernels, on any CPU
  kOneDnn = 2,    // oneDNN primitives where it has them, our kernels for the rest
  kOpenCl = 3,
  kCuda = 4,
  kReference = 5,  // the plain reference kernels alone: slow, for checking
};
const char* name(Backend backend);
Result<Backend> parse_backend(const std::string& text);
bool is_available(Backend backend);  // compiled in, and usable on this machine

// A pool of threads of the caller's, in place of the library's own: `parallel` calls function(context, chunk, thread)
// once for every chunk in [0, chunks), on any of its threads, with 0 <= thread < threads and no two calls at a time
// with the same; it returns when all are done, and what they wrote is then visible to the caller. Results do not depend
// on the number of threads. The same as sn_thread_hook of the C API.
//
// All of that is checked. A call with another chunk or thread, of a chunk that was done before, at the same time as
// another with the same thread, or after the return does nothing; chunks that were left out are made up for by the
// thread that runs the session; and run() or step() answers kInvalidArgument, saying what was wrong first. (What comes
// after the last run is told by the next one; a call after the session or trainer is gone cannot be noticed.)
struct ThreadHook {
  int threads = 0;  // 0: no hook
  void (*parallel)(void* self, int32_t chunks, void (*function)(void* context, int32_t chunk, int32_t thread),
                   void* context) = nullptr;
  void* self = nullptr;  // must outlive what uses the hook
};

struct SessionOptions {
  Backend backend = Backend::kAuto;
  int threads = 0;              // 0: as many as CPUs this process may use (affinity mask and cgroup quota)
  ThreadHook thread_hook;       // where it has threads, they are used and `threads` is not; not with kOneDnn
  int64_t batch = 1;            // images a run
  bool optimize = true;         // false: no graph passes but the ones execution needs; for tests
  bool use_stored_plan = true;  // false: plans itself, whatever the model's file holds
  // Numbers below 1.2e-38, the smallest normal float32, count as zero while the session runs, as they cost some CPUs up
  // to 100 times an ordinary number's time: flush-to-zero and denormals-are-zero on every thread that computes, as
  // before again when the run is over. False: the threads' modes stay as they are, by default IEEE 754 (but for the
  // NEON unit of 32-bit ARM, which always flushes). RISC-V has no such mode, and no such cost.
  bool flush_denormals = true;
  // Memory for arena, scratch and weights in place of the heap, aligned to 64 bytes; it is the session's until the
  // session goes. Too little is kOutOfMemory, with the bytes needed. oneDNN keeps its own copies of weights besides.
  void* memory = nullptr;
  size_t memory_bytes = 0;
  // For models from elsewhere, whose shapes may ask for any amount: a session that needs more is kOutOfMemory, with the
  // bytes needed, before any of it is allocated. 0: no limit.
  size_t max_memory_bytes = 0;
};

struct TensorInfo {
  std::string name;
  DataType type = DataType::kFloat32;
  Shape shape;
};

struct MemoryReport {
  size_t arena_bytes = 0;        // activations, inputs and outputs
  size_t lower_bound_bytes = 0;  // largest sum of live activation bytes over the steps: no plan can need less
  size_t scratch_bytes = 0;      // working memory of kernels, of all threads
  size_t weights_bytes = 0;      // constants as the kernels keep them
  size_t total_bytes = 0;        // what SessionOptions::memory must have: all of these and what kernels note down
};

struct StepInfo {
  std::string name;  // of the node the step came from
  std::string op;
  std::string kernel;       // e.g. "conv2d_winograd4_f32_avx512"
  std::string backend;      // the one that executes it
  bool is_copy = false;     // only moves data: Concat, Slice, Transpose, Pad as a step of its own
  double milliseconds = 0;  // of the last run_profiled()
  int64_t macs = 0;
};

// One planned buffer, for drawing the plan.
struct BufferInfo {
  std::string name;
  size_t offset = 0, bytes = 0;
  int first_step = 0, last_step = 0;
};

class Session {
 public:
  // Plans and binds. Errors: kInvalidModel (the graph), kUnsupported (an op or a backend; names the node),
  // kOutOfMemory, kInvalidArgument (threads < 0, batch < 1).
  static Result<Session> create(const Graph& graph, const SessionOptions& options);
  // The same of a model, whose stored plan saves the planning where it fits: made for this batch size, and the backend
  // is kAuto or kPortable. Results, arena and scratch are the same with and without it, bit for bit.
  static Result<Session> create(const Model& model, const SessionOptions& options);
  // What create() would allocate, without allocating it: the graph is planned and kernels are chosen, nothing is
  // packed. total_bytes is what SessionOptions::memory must have; `memory` itself is not looked at. Errors: those of
  // create(), but for a lack of memory for the session.
  static Result<MemoryReport> measure(const Model& model, const SessionOptions& options);
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  const std::vector<TensorInfo>& inputs() const;  // shapes with the session's batch
  const std::vector<TensorInfo>& outputs() const;

  // Copies `elements` float32 values in the tensor's own shape (images: NCHW) into the arena. kInvalidArgument if the
  // count or the index is wrong. An input keeps its value until it is set again only if the plan keeps its memory: set
  // every input before every run.
  Status set_input(size_t index, const float* data, size_t elements);
  Status run();
  Status get_output(size_t index, float* data, size_t elements) const;

  // run() with a clock around every step; StepInfo::milliseconds has the result.
  Status run_profiled();

  MemoryReport memory() const;
  const std::vector<StepInfo>& steps() const;
  const std::vector<BufferInfo>& buffers() const;
  int threads() const;
  bool uses_stored_plan() const;

 private:
  class Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  static Result<Session> create_from(const Graph& graph, const Model* model, const SessionOptions& options);
  std::unique_ptr<Impl> impl_;
};

// CPUs this process may use: the affinity mask (and with it cpusets), lowered by the smallest quota of its control
// groups. At least 1. More threads than that (Session::threads()) wait for each other and are slower.
int usable_cpus();

// Measured fp32 multiply-add peak of one core, in GFLOP/s: independent vector FMAs in registers for about `seconds`.
double measure_fma_peak_gflops(double seconds = 0.2);

std::string version();  // "major.minor.patch"

}  // namespace sparsenet

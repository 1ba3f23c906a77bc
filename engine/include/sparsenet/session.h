// Session: a graph planned for one batch size and bound to one backend, ready to run.
//
//   auto model = sparsenet::load_model("net.snet");
//   auto session = sparsenet::Session::create(*model, {});
//   session->set_input(0, pixels, count);   // NCHW float32
//   session->run();
//   session->get_output(0, logits, classes);
//
// Memory: create() allocates everything; run() allocates nothing. (Drivers of plugins' devices do as they like, and
// with integers a plugin's inputs and outputs are converted in memory of their own. The oneDNN backend, if requested,
// makes a constant number of small allocations of its own in each run and frees them before the run ends.) Thread
// safety: a session may be used by one thread at a time; different sessions are independent, even if they come from the
// same model.
//
// fork(): a child process may go on using every session that was not running at the time of the fork, whatever its
// number of threads: it starts threads of its own at its first run. With kOneDnn only single-threaded sessions work in
// the child: OpenMP's threads do not survive the fork, and if the parent has used them, run() and create() with more
// than one thread fail with kUnsupported. Drivers of devices do not survive it either: if the parent has used a plugin,
// its sessions on it and new ones fail with kUnsupported in the child.
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
  kAuto = 0,       // for every step the fastest backend that supports it, according to a fixed table
  kPortable = 1,   // our own kernels, on any CPU
  kOneDnn = 2,     // oneDNN primitives where it has them, our kernels for the rest
  kOpenCl = 3,     // the plugin `opencl`, on a GPU; docs/backends.md says where plugins are looked for
  kCuda = 4,       // the plugin `cuda`
  kReference = 5,  // only the plain reference kernels: slow, for checking
  kPlugin = 6,     // the plugin that SessionOptions::plugin names
};
const char* name(Backend backend);
Result<Backend> parse_backend(const std::string& text);
bool is_plugin(Backend backend);  // kOpenCl, kCuda, kPlugin
// Compiled into this library; of plugins: found, with at least one device. false for kPlugin.
bool is_available(Backend backend);

// What the products of convolutions and fully connected layers are computed in, or what values are stored in between.
// Everything else is float32: sums, activations, and what goes in and out.
enum class Precision : uint8_t {
  kFloat32 = 0,
  // Inputs and weights of each product are rounded to bfloat16, which has 8 significant bits: results differ from those
  // of kFloat32 by about 1 % of the largest output, and by CPU. They are the same for every number of threads. For CPUs
  // with AVX-512 and AMX-BF16 or AVX512-BF16, and backends kAuto and kPortable. Layers with fewer than 16 inputs or 8
  // outputs, or with groups, stay float32.
  kBfloat16 = 1,
  // Values between layers and weights are stored in half the bytes, as float16 (11 significant bits, up to 65,504);
  // arithmetic is float32. For plugins that can, such as `opencl` and `cuda`.
  kFloat16 = 2,
};
const char* name(Precision precision);                       // "f32", "bf16", "f16"
Result<Precision> parse_precision(const std::string& text);  // kInvalidArgument
bool is_available(Precision precision);                      // in this build and on this CPU; kFloat16: never on CPUs

// The caller's own pool of threads, in place of the library's: `parallel` calls function(context, chunk, thread) once
// for every chunk in [0, chunks), on any of its threads, with 0 <= thread < threads and never with the same `thread` in
// two calls at a time; it returns when all calls are done, and what they wrote is then visible to the caller. Results
// do not depend on the number of threads. The same as sn_thread_hook of the C API.
//
// All of these rules are checked. A call does nothing if its chunk or thread is out of range, if the chunk was run
// before, if another call with the same `thread` is running, or if `parallel` has already returned. Chunks that were
// left out are run by the thread that runs the session. run() or step() then returns kInvalidArgument with the first
// rule that was broken. (A late call after a run is reported by the next run; a call after the session or trainer has
// been destroyed cannot be detected.)
struct ThreadHook {
  int threads = 0;  // 0: no hook
  void (*parallel)(void* self, int32_t chunks, void (*function)(void* context, int32_t chunk, int32_t thread),
                   void* context) = nullptr;
  void* self = nullptr;  // must outlive everything that uses the hook
};

// What the first run on a plugin's device is compared with: the CPU, on the first image. The verdict is kept in
// SessionOptions::cache_folder for this network, device, driver and plugin.
enum class DeviceCheck : uint8_t {
  kOutputs = 0,  // the outputs; if they are wrong, each step is checked to find the one that is at fault
  kSteps = 1,    // each step, whatever the outputs are
  kOff = 2,
};

struct SessionOptions {
  Backend backend = Backend::kAuto;
  Precision precision = Precision::kFloat32;
  int threads = 0;         // 0: as many as CPUs this process may use (affinity mask and cgroup quota)
  ThreadHook thread_hook;  // if it has threads, they are used and `threads` is ignored; not with kOneDnn
  int64_t batch = 1;       // images per run
  // How many images of a batch are computed at once; it must divide `batch`. Fewer than `batch` need less memory, and
  // their activations stay in the caches; with many threads, more give each of them more to do. 0: chosen for this
  // machine's caches; `batch` where images may depend on each other or that cannot be told. The bits of results may
  // depend on it. Session::images_at_once() has the number in use.
  int64_t images_at_once = 0;
  bool optimize = true;         // false: only the graph passes that execution needs; for tests
  bool use_stored_plan = true;  // false: always make a new plan, even if the model's file holds one
  // Numbers below 1.2e-38, the smallest normal float32, are treated as zero while the session runs, because some CPUs
  // take up to 100 times as long for them as for ordinary numbers: flush-to-zero and denormals-are-zero are set on
  // every thread that computes, and the previous modes are restored when the run is over. False: the threads' modes
  // stay as they are, by default IEEE 754 (except the NEON unit of 32-bit ARM, which always flushes). RISC-V has no
  // such mode, and no such cost.
  bool flush_denormals = true;
  // True: kernels keep weights in whatever form is fastest. By default they leave out forms that take much more memory
  // than they are worth: large batches gain (ResNet18, 16 images: 1.2 times as fast, weights of 160 MB instead of 59),
  // single images do not. For the backends kAuto and kPortable.
  bool large_weights = false;
  // Memory for arena, scratch and weights, used instead of the heap and aligned to 64 bytes; it belongs to the session
  // until the session is destroyed. Too little memory is kOutOfMemory, with the bytes needed. oneDNN additionally keeps
  // its own copies of weights.
  void* memory = nullptr;
  size_t memory_bytes = 0;
  // For models from untrusted sources, whose shapes may require any amount of memory: a session that needs more than
  // this fails with kOutOfMemory and the bytes needed, before any of it is allocated. 0: no limit.
  size_t max_memory_bytes = 0;

  // The following are for backends that are plugins.
  std::string plugin;   // with kPlugin: its name
  uint32_t device = 0;  // as list_backends() (sparsenet/backends.h) counts them
  // Steps that the plugin or its device cannot run are run by the CPU, where the plan is then in at most three parts
  // (CPU, device, CPU), or not on the device at all. Each such decision is told by `note`. True: it is an error instead
  // (kUnsupported), and so is a failed check of the device.
  bool strict = false;
  DeviceCheck device_check = DeviceCheck::kOutputs;
  // With kFloat16: products may be of float16 numbers, with sums in float32, on tensor cores of devices that have them.
  bool tensor_cores = false;
  bool tune = false;  // find the fastest sizes of kernels by timing, and keep them in the cache folder
  // Where compiled kernels, tuned sizes and verdicts are kept. Empty: the folder `sparsenet` in $XDG_CACHE_HOME, or in
  // $HOME/.cache; if there is neither, or the folder cannot be written to, nothing is kept.
  std::string cache_folder;
  // Gets one line for people about what is allowed but may not be what was meant, such as a fallback. Null: it goes to
  // stderr. It is called by create() and by the first run().
  void (*note)(void* self, const char* text) = nullptr;
  void* note_self = nullptr;
};

// Fills in backend, plugin and device from what users write: a backend's name, or that of a plugin, which may be
// followed by a device: "portable", "opencl", "cuda:1". kInvalidArgument.
Status parse_backend(const std::string& text, SessionOptions* options);

struct TensorInfo {
  std::string name;
  DataType type = DataType::kFloat32;  // or kInt8, kUInt8
  Shape shape;
  Quantization quantization = {};  // of integers: one scale and zero point
};

struct MemoryReport {
  size_t arena_bytes = 0;  // activations, inputs and outputs; of the whole batch, also if it is computed in slices
  size_t lower_bound_bytes = 0;  // largest sum of live activation bytes over the steps: no plan can need less
  size_t scratch_bytes = 0;      // working memory of the kernels, for all threads
  size_t weights_bytes = 0;      // constants as the kernels keep them
  size_t total_bytes = 0;  // what SessionOptions::memory must have: arena, scratch, weights and the kernels' own data
};

struct StepInfo {
  std::string name;  // of the node the step came from
  std::string op;
  std::string kernel;       // e.g. "conv2d_winograd4_f32_avx512"
  std::string backend;      // the backend that executes it
  bool is_copy = false;     // the step only moves data: Concat, Slice, Transpose or Pad as a separate step
  double milliseconds = 0;  // of the last run_profiled()
  int64_t macs = 0;
  // Of sessions with a plugin: why the step is not run by it, if it is not; and of those that it runs, after
  // run_profiled(), the kernel launches and the bytes of device memory read and written (0: unknown).
  std::string reason = {};
  uint32_t launches = 0;
  uint64_t bytes_read = 0, bytes_written = 0;
  uint64_t least_bytes = 0;  // of its inputs, parameters and outputs: what must be read and written at least
};

// One planned buffer, for drawing the plan.
struct BufferInfo {
  std::string name;
  size_t offset = 0, bytes = 0;
  int first_step = 0, last_step = 0;
};

class Session {
 public:
  // Plans the graph and binds it to kernels. Errors: kInvalidModel (the graph), kUnsupported (an op, a backend or a
  // precision; images_at_once for a graph whose images may depend on each other; names the node), kOutOfMemory,
  // kInvalidArgument (threads < 0, batch < 1, images_at_once that does not divide it).
  static Result<Session> create(const Graph& graph, const SessionOptions& options);
  // The same for a model. Its stored plan is used if it was made for as many images as are computed at once and the
  // backend is kAuto or kPortable. Arena and scratch are the same with and without it, and so are the results, bit for
  // bit.
  static Result<Session> create(const Model& model, const SessionOptions& options);
  // What create() would allocate, without allocating it: the graph is planned and kernels are chosen, but nothing is
  // packed. total_bytes is what SessionOptions::memory must have; `memory` itself is not looked at. Errors: those of
  // create(), except a lack of memory for the session.
  static Result<MemoryReport> measure(const Model& model, const SessionOptions& options);
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  const std::vector<TensorInfo>& inputs() const;  // shapes with the session's batch
  const std::vector<TensorInfo>& outputs() const;

  // Copies `elements` values in the tensor's own shape (images: NCHW) into the arena. kInvalidArgument if the count or
  // the index is wrong, or if integers are of another type than the tensor. Set every input before every run: the plan
  // may reuse an input's memory for other values.
  // Real numbers for an input of integers are divided by its scale, rounded (ties away from zero), moved by its zero
  // point and clamped to its type's range; those of an output are scale * (integer - zero point).
  Status set_input(size_t index, const float* data, size_t elements);
  Status set_input(size_t index, const int8_t* data, size_t elements);
  Status set_input(size_t index, const uint8_t* data, size_t elements);
  Status run();
  Status get_output(size_t index, float* data, size_t elements) const;
  Status get_output(size_t index, int8_t* data, size_t elements) const;
  Status get_output(size_t index, uint8_t* data, size_t elements) const;

  // run() with a clock around every step; StepInfo::milliseconds has the result.
  Status run_profiled();

  MemoryReport memory() const;
  const std::vector<StepInfo>& steps() const;
  const std::vector<BufferInfo>& buffers() const;
  int threads() const;
  int64_t images_at_once() const;  // see SessionOptions
  bool uses_stored_plan() const;

 private:
  class Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  static Result<Session> create_from(const Graph& graph, const Model* model, const SessionOptions& options);
  std::unique_ptr<Impl> impl_;
};

// How many CPUs this process may use: the affinity mask (which includes cpusets), lowered by the smallest quota of its
// control groups. At least 1. A session with more threads than that (Session::threads()) is slower, because they wait
// for each other.
int usable_cpus();

// The measured fp32 multiply-add peak of one core, in GFLOP/s: runs independent vector FMAs in registers for about
// `seconds`.
double measure_fma_peak_gflops(double seconds = 0.2);

std::string version();  // "major.minor.patch"

}  // namespace sparsenet

// BoundPlan: a plan with the kernels that run it and the memory it runs in. Sessions, trainers and the checks of stored
// plans are built on it.
//
// The backend decides where the arena lies: values go in and out through write() and read(), and code that needs the
// arena itself calls host_arena(). The constants that steps point to lie in the host's memory; a backend takes them
// over when it prepares a step.
#pragma once

#include <sparsenet/session.h>
#include <sparsenet/status.h>

#include <memory>
#include <string>
#include <vector>

#include "plan/plan.h"
#include "runtime/bound_steps.h"
#include "runtime/bytes.h"
#include "runtime/port_affine.h"
#include "session/backend_table.h"
#include "session/block.h"
#include "session/hooked_threads.h"
#include "session/parameter_memory.h"
#include "session/thread_pool.h"

namespace sparsenet {

struct BindOptions {
  const BackendEntry* backend = nullptr;
  int threads = 1;         // at least 1
  ThreadHook thread_hook;  // if it has threads, these are used; `threads` is then their number
  bool flush_denormals = true;
  Precision precision = Precision::kFloat32;
  bool large_weights = false;  // as in SessionOptions
  // Memory to use for everything instead of the heap, as in SessionOptions.
  void* memory = nullptr;
  size_t memory_bytes = 0;
  size_t max_memory_bytes = 0;        // more is refused; 0: no limit
  size_t extra_bytes = 0;             // beside the plan's arena, for the owner: extra()
  Plan* own_plan = nullptr;           // the plan, if it may lose the parameters that kernels have copied
  const char* owner = "the session";  // in messages: "the session needs 100 bytes"
};

// Fills in the backend, the hook and the number of threads from what the caller asked for. kInvalidArgument if
// `threads` or the hook is out of range; kUnsupported if the backend is not in this build or takes no hook.
Status choose_backend(Backend wanted, int threads, const ThreadHook& hook, BindOptions* options);

// Fills in the precision, after choose_backend(). kUnsupported if this CPU or the backend does not have it.
Status choose_precision(Precision wanted, BindOptions* options);

// The memory that a plan takes with the kernels of a backend.
struct PlanCost {
  rt::PlanNeeds needs{};
  size_t arena_bytes = 0, lower_bound_bytes = 0;
  size_t copied_bytes = 0;  // float32 copies of float16 parameters, for kernels that need them

  uint64_t weights_bytes() const {
    return rt::add_bytes(rt::add_bytes(needs.weight_bytes, needs.refreshed_bytes), copied_bytes);
  }
  // The working memory for so many threads, and the total of that, the arena, the weights and the kernels' own data.
  // UINT64_MAX: more than can be addressed.
  uint64_t scratch_bytes(int threads) const;
  uint64_t total_bytes(int threads) const;
};

// Chooses the kernels for the backend and the number of threads, and allocates none of the memory that they need.
// kUnsupported and kOutOfMemory name the step's node. `bound`: null, or where the chosen kernels go.
Result<PlanCost> measure_plan(const Plan& plan, const BindOptions& options,
                              std::vector<rt::BoundStep>* bound = nullptr);

// The cost as a report. kOutOfMemory if it is more than can be addressed.
Result<MemoryReport> report_memory(const PlanCost& cost, const BindOptions& options);

inline rt::PortAffine affine_of(const PlanPort& port) {
  const Quantization& q = port.quantization;
  return q.empty() ? rt::PortAffine{} : rt::PortAffine{q.scales[0], q.zero_points[0]};
}

class BoundPlan {
 public:
  BoundPlan() = default;
  ~BoundPlan() { steps_.release(); }
  BoundPlan(const BoundPlan&) = delete;
  BoundPlan& operator=(const BoundPlan&) = delete;

  // To be called once: measures, finds memory, binds every step and starts threads. `plan` must outlive the object.
  Status create(const Plan& plan, const BindOptions& options);

  MemoryReport memory() const { return memory_; }
  int threads() const { return threads_; }
  const std::vector<StepInfo>& steps() const { return infos_; }

  void write(const rt::View& view, const float* data);  // in the graph's own order: images NCHW
  void read(const rt::View& view, float* data) const;
  // The same for inputs and outputs of any type: real numbers, which are rounded to integers where the port holds these
  // and were made from them, or elements of the port's own type.
  void write(const PlanPort& port, const float* data);
  void read(const PlanPort& port, float* data) const;
  void write_elements(const PlanPort& port, const void* data);
  void read_elements(const PlanPort& port, void* data) const;
  uint8_t* host_arena() const { return steps_.arena(); }
  // The extra bytes, behind the arena; aligned as it is.
  uint8_t* extra() const { return arena_.get() + rt::aligned_bytes(plan_->arena_bytes); }

  // A run is begin_run(), any number of calls of execute(), which runs the steps [begin, end), and end_run(), also if
  // something failed in between. end_run() returns what went wrong in the backend; misuse() returns which rule the
  // thread hook has broken since the last call of misuse() (kInvalidArgument).
  Status begin_run();
  void execute(size_t begin, size_t end);
  void execute_timed(size_t begin, size_t end);  // adds to StepInfo::milliseconds
  Status end_run();
  Status misuse() { return hooked_ ? hooked_->take() : Status(); }
  void reset_times();
  void multiply_macs(int64_t factor);  // for plans that are executed several times per run

 private:
  Status find_memory(const PlanCost& cost, const BindOptions& options, rt::PlanMemory* memory);
  Status bind_steps(const rt::PlanMemory& memory, ParameterMemory* originals);
  void start_threads(const BindOptions& options, const PlanCost& cost);
  void describe_steps();

  const Plan* plan_ = nullptr;
  const BackendEntry* backend_ = nullptr;
  bool flush_denormals_ = true;
  int threads_ = 1;
  Block arena_, state_, weights_, scratch_;
  uint8_t* copies_ = nullptr;  // in weights_
  std::vector<rt::BoundStep> bound_;
  rt::BoundSteps steps_{};
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<HookedThreads> hooked_;
  MemoryReport memory_;
  std::vector<StepInfo> infos_;
};

}  // namespace sparsenet

#include "train/budget.h"

#include <algorithm>
#include <utility>

namespace sparsenet {
namespace {

constexpr int kUsualThreads = 4;  // a memory budget keeps room for the scratch of so many

class Fitting {
 public:
  Fitting(const ProgramRequest& request, const BindOptions& bind) : request_(request), bind_(bind) {}

  // Makes the program for micro-batches of this size, with the first `recomputed` choices recomputed (SIZE_MAX: all).
  Status make(int64_t micro_batch, size_t recomputed, TrainingProgram* program) const;

  // Looks for the largest micro-batches that fit together with the scratch of `counted` threads, and recomputes as
  // little as is necessary for that.
  Status fit(int counted, TrainingProgram* program);

  bool found() const { return found_; }
  uint64_t smallest() const { return smallest_; }  // the fewest bytes that any program tried needs

 private:
  bool fits(const TrainingProgram& program, int counted) {
    const uint64_t bytes = program.bytes(counted);
    smallest_ = std::min(smallest_, bytes);
    return bytes <= request_.options.memory_budget;
  }
  Status recompute_least(int64_t micro_batch, int counted, TrainingProgram* program);

  const ProgramRequest& request_;
  const BindOptions& bind_;
  bool found_ = false;
  uint64_t smallest_ = UINT64_MAX;
};

Status Fitting::make(int64_t micro_batch, size_t recomputed, TrainingProgram* program) const {
  const TrainOptions& options = request_.options;
  Graph graph = request_.source;
  SPARSENET_RETURN_IF_ERROR(graph.set_batch(micro_batch));
  BackwardOptions backward;
  backward.trained = request_.trained;
  backward.decayed = request_.decayed;
  backward.fixed_statistics = request_.fixed_statistics;
  backward.optimizer = options.optimizer;
  backward.label_smoothing = options.label_smoothing;
  backward.accumulate = options.accumulate > 1 || micro_batch != options.batch;
  SPARSENET_ASSIGN_OR_RETURN(program->training, build_backward(graph, backward));
  program->choices = recompute_choices(program->training);
  program->recomputed = std::min(recomputed, program->choices.size());
  recompute(&program->training, program->choices, program->recomputed);
  SPARSENET_ASSIGN_OR_RETURN(program->plan, make_plan(program->training.graph, program->training.persistence));
  SPARSENET_ASSIGN_OR_RETURN(program->cost, measure_plan(program->plan, bind_));
  program->micro_batches = options.batch / micro_batch;
  return {};
}

// Recomputes as few choices as are necessary to make `program` fit, which is too large with nothing recomputed.
Status Fitting::recompute_least(int64_t micro_batch, int counted, TrainingProgram* program) {
  size_t enough = program->choices.size(), few = 0;
  SPARSENET_RETURN_IF_ERROR(make(micro_batch, enough, program));
  if (!fits(*program, counted)) return {};
  found_ = true;
  while (enough - few > 1) {
    const size_t middle = few + (enough - few) / 2;
    TrainingProgram trial;
    SPARSENET_RETURN_IF_ERROR(make(micro_batch, middle, &trial));
    if (trial.bytes(counted) <= request_.options.memory_budget) {
      enough = middle;
      *program = std::move(trial);
    } else {
      few = middle;
    }
  }
  return {};
}

Status Fitting::fit(int counted, TrainingProgram* program) {
  const int64_t batch = request_.options.batch;
  Status first_failure;
  bool planned = false;
  for (int64_t parts = 1; parts <= batch && !found_; ++parts) {
    if (batch % parts != 0) continue;
    const Status status = make(batch / parts, 0, program);
    if (!status.ok()) {
      if (planned) break;  // too few values for batch statistics
      if (first_failure.ok()) first_failure = status;
      continue;  // perhaps smaller parts can be planned
    }
    planned = true;
    if (fits(*program, counted)) {
      found_ = true;
    } else {
      SPARSENET_RETURN_IF_ERROR(recompute_least(batch / parts, counted, program));
    }
  }
  return planned ? Status() : first_failure;
}

}  // namespace

uint64_t TrainingProgram::bytes(int threads) const {
  return rt::add_bytes(uint64_t{cost.arena_bytes} + cost.weights_bytes(), cost.scratch_bytes(threads));
}

// The results depend on what is chosen to fit the budget, so the choice must not depend on the number of threads: it
// leaves room for the scratch of kUsualThreads, or of one thread if nothing fits with that. Then as many threads run as
// there is room for.
Result<TrainingProgram> fit_program(const ProgramRequest& request, BindOptions* bind) {
  const TrainOptions& options = request.options;
  Fitting fitting(request, *bind);
  TrainingProgram program;
  if (options.memory_budget == 0) {
    SPARSENET_RETURN_IF_ERROR(fitting.make(options.batch, 0, &program));
    return program;
  }
  for (const int counted : {kUsualThreads, 1}) {
    if (!fitting.found()) SPARSENET_RETURN_IF_ERROR(fitting.fit(counted, &program));
  }
  if (!fitting.found()) {
    return invalid_argument("memory budget: expected " + std::to_string(fitting.smallest()) +
                            " bytes or more for batch " + std::to_string(options.batch) + ", found " +
                            std::to_string(options.memory_budget));
  }
  // The caller's pool is used with all of its threads or not at all.
  while (bind->threads > 1 && program.bytes(bind->threads) > options.memory_budget) {
    bind->threads = bind->thread_hook.threads > 0 ? 1 : bind->threads - 1;
  }
  return program;
}

}  // namespace sparsenet

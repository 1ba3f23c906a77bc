// What every step of a stored plan computes for the first test vector, as two numbers each.
#include <sparsenet/deploy.h>
#include <sparsenet/model.h>

#include "base/guarded.h"
#include "kernels/reference/reference.h"
#include "plan/plan.h"
#include "runtime/denormals.h"
#include "runtime/executor.h"
#include "runtime/port_copy.h"
#include "session/block.h"
#include "step/step_digest.h"

namespace sparsenet {
namespace {

Status run_and_digest(const TestVector& vector, StoredPlan* stored) {
  const Plan& plan = *stored->plan;
  const auto count = static_cast<int32_t>(plan.steps.size());
  const rt::Kernel* const* lists[] = {rt::kReferenceKernels};
  std::vector<rt::Bound> bound(plan.steps.size());
  rt::Sizes sizes{};
  if (rt::measure(plan.steps.data(), count, lists, 1, bound.data(), &sizes) >= 0) {
    return internal_error("a step of the plan has no reference kernel");
  }
  Block arena, state, weights, scratch;
  if (!arena.allocate(plan.arena_bytes) || !state.allocate(sizes.state_bytes) ||
      !weights.allocate(sizes.weight_bytes) || !scratch.allocate(sizes.scratch_bytes + sizes.shared_bytes)) {
    return out_of_memory("no memory to run the plan's steps");
  }
  int32_t failed = -1;
  const rt::Memory memory{arena.get(), state.get(), weights.get(), scratch.get() + sizes.scratch_bytes, nullptr};
  if (const char* why = rt::bind(plan.steps.data(), count, memory, bound.data(), &failed)) return internal_error(why);
  for (size_t i = 0; i < plan.inputs.size(); ++i) {
    rt::copy_to_view(plan.inputs[i].view, arena.get(), vector.inputs[i].f32());
  }
  const rt::FlushDenormals flush(true);  // as on the device
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    rt::execute_step(bound[i], scratch.get(), sizes.scratch_bytes, {nullptr, nullptr, 1});
    const rt::StepDigest d = rt::digest(plan.steps[i].out, arena.get());
    stored->step_checks.push_back({d.sum, d.norm});
  }
  rt::release(bound.data(), count);
  return {};
}

Status check_steps(const std::vector<TestVector>& vectors, StoredPlan* stored) {
  if (vectors.empty() || stored->trains || stored->batch != 1) return {};
  const TestVector& vector = vectors[0];
  const std::vector<PlanPort>& inputs = stored->plan->inputs;
  bool fits = vector.inputs.size() == inputs.size();
  for (size_t i = 0; fits && i < inputs.size(); ++i) {
    fits = vector.inputs[i].type == DataType::kFloat32 && vector.inputs[i].shape == inputs[i].shape;
  }
  if (!fits) return invalid_argument("test vector 0 does not have the plan's inputs");
  return run_and_digest(vector, stored);
}

}  // namespace

Status add_step_checks(const std::vector<TestVector>& vectors, StoredPlan* stored) {
  stored->step_checks.clear();
  const Status status = guarded("running a plan's steps", [&] { return check_steps(vectors, stored); });
  if (!status.ok()) stored->step_checks.clear();
  return status;
}

}  // namespace sparsenet

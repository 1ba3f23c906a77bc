// add_step_checks(): summarises what each step of a stored plan computes for the first test vector in two numbers.
#include <sparsenet/deploy.h>
#include <sparsenet/model.h>

#include "base/guarded.h"
#include "plan/plan.h"
#include "runtime/denormals.h"
#include "session/bound_plan.h"
#include "step/step_digest.h"

namespace sparsenet {
namespace {

Status run_and_digest(const TestVector& vector, StoredPlan* stored) {
  const Plan& plan = *stored->plan;
  BindOptions options;  // as on the device: one thread, denormals count as zero
  options.backend = find_backend(Backend::kReference);
  options.owner = "a run of the plan's steps";
  BoundPlan bound;
  SPARSENET_RETURN_IF_ERROR(bound.create(plan, options));
  for (size_t i = 0; i < plan.inputs.size(); ++i) bound.write_elements(plan.inputs[i], vector.inputs[i].data);
  SPARSENET_RETURN_IF_ERROR(bound.begin_run());
  const rt::FlushDenormals flush(true);  // also in the digests
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    bound.execute(i, i + 1);
    const rt::StepDigest d = rt::digest(plan.steps[i].out, bound.host_arena());
    stored->step_checks.push_back({d.sum, d.norm});
  }
  return bound.end_run();
}

Status check_steps(const std::vector<TestVector>& vectors, StoredPlan* stored) {
  if (vectors.empty() || stored->trains || stored->batch != 1) return {};
  const TestVector& vector = vectors[0];
  const std::vector<PlanPort>& inputs = stored->plan->inputs;
  bool fits = vector.inputs.size() == inputs.size();
  for (size_t i = 0; fits && i < inputs.size(); ++i) {
    fits = static_cast<rt::DataType>(vector.inputs[i].type) == inputs[i].view.type &&
           vector.inputs[i].shape == inputs[i].shape;
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

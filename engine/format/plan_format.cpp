#include "format/plan_format.h"

#include <model_generated.h>
#include <sparsenet/deploy.h>

#include <algorithm>

#include "plan/plan.h"

namespace sparsenet {

namespace {

bool has_inputs_of(const StoredPlan& stored, const Graph& graph) {
  const size_t labels = stored.trains ? 1 : 0;
  if (!stored.plan || stored.plan->inputs.size() != graph.inputs.size() + labels) return false;
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const ValueId id = graph.inputs[i];
    if (id < 0 || static_cast<size_t>(id) >= graph.values.size()) return false;
    Shape shape = graph.shape(id);
    if (!shape.empty()) shape[0] = stored.batch;
    if (shape != stored.plan->inputs[i].shape) return false;
  }
  return true;
}

}  // namespace

bool made_of(const StoredPlan& stored, const Graph& graph) {
  return has_inputs_of(stored, graph) && stored.graph_identity == graph_identity(graph);
}

std::vector<const StoredPlan*> plans_made_of(const std::vector<StoredPlan>& plans, const Graph& graph) {
  std::vector<const StoredPlan*> fitting;
  if (plans.empty()) return fitting;
  const uint64_t identity = graph_identity(graph);
  for (const StoredPlan& stored : plans) {
    if (stored.graph_identity == identity && has_inputs_of(stored, graph)) fitting.push_back(&stored);
  }
  return fitting;
}

const StoredPlan* find_plan(const Model& model, const std::string& target, int64_t batch) {
  for (const StoredPlan& stored : model.plans) {
    const bool wanted = stored.target == target && stored.batch == batch && !stored.trains;
    if (wanted && made_of(stored, model.graph)) return &stored;
  }
  return nullptr;
}

const StoredPlan* find_training_plan(const Model& model, const std::string& target) {
  for (const StoredPlan& stored : model.plans) {
    if (stored.target == target && stored.trains && made_of(stored, model.graph)) return &stored;
  }
  return nullptr;
}

size_t plan_bytes(const StoredPlan& stored) {
  size_t bytes = 1024 + stored.constants.size() * sizeof(schema::PlanConstant);
  for (const rt::Step& step : stored.plan->steps) bytes += 512 + std::char_traits<char>::length(step.name);
  for (const auto& operands : stored.plan->operands) bytes += 8 + operands.size() * (4 + sizeof(schema::PlanView));
  if (stored.plan->training) {
    for (const PlanParameter& p : stored.plan->training->parameters) bytes += 64 + p.name.size();
  }
  bytes += stored.step_checks.size() * sizeof(schema::PlanStepCheck);
  bytes += (stored.check.labels.size() + stored.check.losses.size()) * 4;
  for (const auto& segments : stored.plan->segments) bytes += segments.size() * sizeof(schema::PlanSegment);
  for (const PlanBuffer& buffer : stored.plan->buffers) bytes += 64 + buffer.name.size();
  return bytes;
}

bool is_known_plan(const schema::Plan& plan) {
  if (!plan.target() || plan.version() > rt::kPlanVersion) return false;
  const std::vector<std::string>& known = plan_targets();
  return std::find(known.begin(), known.end(), plan.target()->str()) != known.end();
}

}  // namespace sparsenet

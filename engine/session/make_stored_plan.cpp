// Makes plans ahead of time: runs the passes and the planner, and gathers what the steps read for the file.
#include <sparsenet/deploy.h>
#include <sparsenet/model.h>

#include <algorithm>
#include <utility>

#include "base/guarded.h"
#include "format/integer_vectors.h"
#include "passes/pipeline.h"
#include "runtime/port_copy.h"
#include "session/stored_constants.h"

namespace sparsenet {
namespace {

// Calls visit(pointer) for each constant that a step, a trained parameter or a port refers to, in their order.
template <class Visit>
void for_each_constant(const Plan& plan, Visit visit) {
  const auto view = [&](const rt::View& v) {
    for (int32_t i = 0; i < v.segment_count; ++i) {
      if (v.segments[i].constant) visit(v.segments[i].constant);
    }
  };
  for (const rt::Step& step : plan.steps) {
    for (const rt::View* v : {&step.in, &step.in2, &step.out}) view(*v);
    for (int32_t i = 0; i < step.train.operand_count; ++i) view(step.train.operands[i]);
    for (const rt::Parameter& p : {step.affine.scale, step.affine.shift, step.conv.weight, step.conv.bias}) {
      if (p && p.data != &rt::kUnplaced) visit(p.data);
    }
    for (const rt::Parameter& p : step.attention.params) {
      if (p) visit(p.data);
    }
  }
  if (plan.training) {
    for (const PlanParameter& parameter : plan.training->parameters) visit(parameter.values.data);
  }
  for (const PlanPort& port : plan.inputs) view(port.view);
  for (const PlanPort& port : plan.outputs) view(port.view);
}

// All constants that a step may point into: the graph's after the passes, and those that lowering made.
std::vector<Tensor> candidates(const Graph& graph, const std::shared_ptr<const Plan>& plan) {
  std::vector<Tensor> all;
  for (const Value& value : graph.values) {
    const bool read = value.type == DataType::kFloat32 || value.type == DataType::kFloat16 ||
                      value.type == DataType::kInt8 || value.type == DataType::kInt32;
    if (!value.is_constant || !read || value.constant.elements() < 1) continue;
    Tensor flat = value.constant;
    flat.shape = {value.constant.elements()};
    all.push_back(std::move(flat));
  }
  for (const std::vector<float>& made : plan->constants) {
    if (made.empty()) continue;
    all.push_back({DataType::kFloat32, {static_cast<int64_t>(made.size())}, plan, made.data()});
  }
  for (const std::vector<int8_t>& made : plan->byte_constants) {
    all.push_back({DataType::kInt8, {static_cast<int64_t>(made.size())}, plan, made.data()});
  }
  // In the order of their places; of those that begin at the same place, the longest comes first.
  std::sort(all.begin(), all.end(), [](const Tensor& a, const Tensor& b) {
    return a.data != b.data ? a.data < b.data : a.bytes() > b.bytes();
  });
  return all;
}

}  // namespace

const std::vector<std::string>& plan_targets() {
  static const std::vector<std::string> kTargets = {"portable-f32"};
  return kTargets;
}

Status check_plan_target(const std::string& target) {
  const std::vector<std::string>& known = plan_targets();
  if (std::find(known.begin(), known.end(), target) != known.end()) return {};
  std::string names;
  for (const std::string& name : known) names += (names.empty() ? "" : ", ") + name;
  return invalid_argument("plan target '" + target + "': expected one of: " + names);
}

Result<StoredPlan> gather_constants(Plan made, const Graph& lowered, const Graph& source) {
  auto plan = std::make_shared<Plan>(std::move(made));
  StoredPlan stored;
  stored.plan = plan;
  stored.graph_identity = graph_identity(source);
  const std::vector<Tensor> all = candidates(lowered, stored.plan);
  std::vector<bool> taken(all.size(), false);
  bool found = true;
  for_each_constant(*plan, [&](const void* at) {
    // The last constant that begins at or before `at` and extends beyond it.
    auto after =
        std::upper_bound(all.begin(), all.end(), at, [](const void* place, const Tensor& t) { return place < t.data; });
    const auto end_of = [](const Tensor& t) { return static_cast<const uint8_t*>(t.data) + t.bytes(); };
    while (after != all.begin() && end_of(*(after - 1)) <= at) --after;
    if (after == all.begin()) {
      found = false;
      return;
    }
    const auto index = static_cast<size_t>(after - 1 - all.begin());
    if (!taken[index]) stored.constants.push_back(all[index]);
    taken[index] = true;
  });
  if (!found) return internal_error("a step reads what is no constant of the graph");
  for (size_t i = 0; i < source.inputs.size() && i < plan->inputs.size(); ++i) {
    const Quantization* q = quantization_of_input(source, source.inputs[i]);
    if (q && rt::may_hold_integers(plan->inputs[i].view)) plan->inputs[i].of_vectors = *q;
  }
  return stored;
}

Result<StoredPlan> make_stored_plan(const Graph& source, const std::string& target, int64_t batch) {
  return guarded("making a plan", [&]() -> Result<StoredPlan> {
    SPARSENET_RETURN_IF_ERROR(check_plan_target(target));
    Graph graph = source;
    SPARSENET_RETURN_IF_ERROR(graph.set_batch(batch));
    SPARSENET_RETURN_IF_ERROR(run_passes(&graph, PassLevel::kAll));
    SPARSENET_ASSIGN_OR_RETURN(Plan made, make_plan(graph));
    Result<StoredPlan> stored = gather_constants(std::move(made), graph, source);
    if (!stored.ok()) return stored.status();
    stored->target = target;
    stored->batch = batch;
    return stored;
  });
}

}  // namespace sparsenet

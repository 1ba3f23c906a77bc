// Makes training plans ahead of time: like Trainer, but with one image per micro-batch and everything except the head
// frozen, so that a device needs little more memory than for inference. What is frozen may compute with integers.
#include <sparsenet/deploy.h>
#include <sparsenet/trainer.h>

#include <algorithm>
#include <utility>

#include "base/guarded.h"
#include "format/integer_vectors.h"
#include "format/model_format.h"
#include "graph/integers.h"
#include "graph/ops.h"
#include "session/stored_constants.h"
#include "step/step_kinds.h"
#include "train/parameters.h"
#include "train/trainer_access.h"
#include "train/training_form.h"
#include "train/training_graph.h"

namespace sparsenet {
namespace {

constexpr int kCheckSteps = 5;
constexpr float kCheckRate = 0.01f;
constexpr float kCheckTolerance = 1e-4f;

// Integers end in front of what is trained.
Status check_integers(const Graph& graph, const std::vector<bool>& trained) {
  const std::vector<bool> active = active_values(graph, trained);
  for (const Node& node : graph.nodes) {
    if (!active[static_cast<size_t>(node.outputs[0])] || !has_integers(graph, node)) continue;
    const bool head = std::any_of(node.inputs.begin(), node.inputs.end(),
                                  [&](ValueId id) { return id != kNoValue && trained[static_cast<size_t>(id)]; });
    return unsupported(describe(node) + (head ? " is the last layer and" : " stands behind the last layer and") +
                       " computes with integers; a device trains in float32, from the last layer to the output: " +
                       (head ? "`sparsenet quantize --keep-float " + node.name + "` keeps this layer so"
                             : std::string("the output has to be float32")));
  }
  return {};
}

Status check_storable(const Plan& plan) {
  for (const rt::Step& step : plan.steps) {
    const bool known = static_cast<size_t>(step.op) < rt::kDeviceStepKinds && rt::may_be_stored(step.op);
    if (known && !step.conv.transposed && !step.train.accumulate) continue;
    return unsupported("node '" + std::string(step.name) + "': training it takes a step (" + rt::step_name(step.op) +
                       ") that stored plans cannot hold");
  }
  for (const PlanLink& link : plan.links) {
    if (link.slot == rt::ParamSlot::kWeight || link.slot == rt::ParamSlot::kBias) continue;
    return unsupported("node '" + std::string(plan.steps[link.step].name) +
                       "': training it changes a scale or shift in front of a step, which stored plans cannot hold");
  }
  return {};
}

Status describe_training(const TrainingGraph& training, const Graph& source, Plan* plan) {
  if (training.phase_begins[kRunningPhase] != training.phase_begins[kAccumulatePhase]) {
    return unsupported("running statistics move in this training, which stored plans cannot hold");
  }
  TrainingSection& t = plan->training.emplace();
  const auto step_of = [&](size_t node) { return static_cast<int32_t>(plan->node_steps[node]); };
  t.layout.loss = step_of(training.backward_begin - 1);
  t.layout.accumulate = step_of(training.phase_begins[kAccumulatePhase]);
  t.layout.norm = step_of(training.phase_begins[kNormPhase]);
  t.layout.update = step_of(training.phase_begins[kUpdatePhase]);
  t.layout.classes = static_cast<int32_t>(plan->outputs[0].shape[1]);
  const int regions[] = {kParameterRegion, kGradientRegion, kAccumulatedRegion, kMoment1Region, kControlRegion};
  for (size_t i = 0; i < rt::kStoredRegions; ++i) {
    const auto id = static_cast<size_t>(regions[i]);
    t.layout.regions[i] = {plan->region_offsets[id], training.persistence.region_bytes[id]};
  }
  for (const Persistence::Placement& p : training.persistence.placements) {
    // A placement that is a whole region is not a value of the source.
    if (p.region != kParameterRegion || static_cast<size_t>(p.value) >= source.values.size()) continue;
    const Value& value = source.value(p.value);
    t.parameters.push_back({value.name,
                            {value.constant.data, rt_type(value.type)},
                            static_cast<size_t>(value.constant.elements()),
                            t.layout.regions[rt::kStoredParameters].offset + p.offset});
  }
  return {};
}

// Fills in the check: the losses that the plan's training gives on this machine for the model's test vectors.
Status make_check(const Model& model, TrainOptions options, TrainingCheck* check) {
  for (const TestVector& vector : model.test_vectors) {
    if (vector.inputs.size() != 1 || vector.outputs.size() != 1) return {};
    const float* outputs = vector.outputs[0].f32();
    const int64_t classes = vector.outputs[0].elements();
    check->labels.push_back(
        static_cast<int32_t>((std::max_element(outputs, outputs + classes) - outputs + 1) % classes));
  }
  if (check->labels.empty()) return {};
  options.threads = 1;
  options.backend = Backend::kPortable;
  options.accumulate = static_cast<int>(check->labels.size());
  SPARSENET_ASSIGN_OR_RETURN(Trainer trainer, TrainerAccess::create(model.graph, options));
  std::vector<Tensor> images;  // real numbers, of which the trainer makes the same integers again
  for (const TestVector& vector : model.test_vectors) {
    const Tensor& image = vector.inputs[0];
    const bool real = image.type == DataType::kFloat32;
    images.push_back(real ? image : numbers_of(image, model.graph.value(model.graph.inputs[0]).quantization));
  }
  check->learning_rate = kCheckRate;
  check->momentum = options.momentum;
  check->weight_decay = options.weight_decay;
  check->nesterov = options.nesterov;
  check->tolerance = kCheckTolerance;
  for (int step = 0; step < kCheckSteps; ++step) {
    double sum = 0;
    for (size_t i = 0; i < check->labels.size(); ++i) {
      const Result<TrainStep> result = trainer.step(images[i].f32(), &check->labels[i], kCheckRate);
      if (!result.ok()) return result.status();
      sum += result->loss;
    }
    check->losses.push_back(static_cast<float>(sum / static_cast<double>(check->labels.size())));
  }
  return {};
}

Result<StoredPlan> make(const Model& model, const std::string& target) {
  SPARSENET_RETURN_IF_ERROR(check_plan_target(target));
  SPARSENET_RETURN_IF_ERROR(check_test_vectors(model.graph, model.test_vectors));
  Graph graph = model.graph;
  SPARSENET_RETURN_IF_ERROR(graph.set_batch(1));
  TrainOptions options;
  options.batch = 1;
  options.freeze = "all-but-head";
  std::vector<ParameterInfo> infos;
  std::vector<ValueId> ids;
  BackwardOptions t;
  SPARSENET_RETURN_IF_ERROR(choose_parameters(graph, options, &infos, &ids, &t.trained, &t.decayed));
  SPARSENET_RETURN_IF_ERROR(check_integers(graph, t.trained));
  t.accumulate = true;
  Result<TrainingGraph> training = build_backward(graph, t);
  if (!training.ok()) return training.status();
  Graph& lowered = training->graph;
  lowered.outputs.insert(lowered.outputs.begin(), training->logits);
  SPARSENET_ASSIGN_OR_RETURN(Plan plan, make_plan(lowered, training->persistence));
  SPARSENET_RETURN_IF_ERROR(check_storable(plan));
  SPARSENET_RETURN_IF_ERROR(describe_training(*training, graph, &plan));
  Result<StoredPlan> stored = gather_constants(std::move(plan), lowered, model.graph);
  if (!stored.ok()) return stored.status();
  stored->target = target;
  stored->trains = true;
  SPARSENET_RETURN_IF_ERROR(make_check(model, options, &stored->check).with_context("training check"));
  return stored;
}

}  // namespace

Result<StoredPlan> make_training_plan(const Model& model, const std::string& target) {
  return guarded("making a training plan", [&] { return make(model, target); });
}

}  // namespace sparsenet

#include "format/stored/training_plan.h"

#include <model_generated.h>

namespace sparsenet::rt {
namespace {

template <class T>
uint32_t size_of(const flatbuffers::Vector<T>* list) {
  return list ? list->size() : 0;
}

// Whether a port is one row of so many float32 numbers: the runtime reads and writes them itself.
bool is_row(const PlanFile& file, const schema::PlanPort& port, int32_t least, int32_t most) {
  const auto* types = file.plan->types();
  if (types && port.view() < types->size() && types->Get(port.view()) != static_cast<uint8_t>(DataType::kFloat32)) {
    return false;
  }
  const auto* shape = port.shape();
  return size_of(shape) == 2 && shape->Get(0) == 1 && shape->Get(1) >= least && shape->Get(1) <= most;
}

// Checks the inputs and outputs: besides the graph's own there are the label, and the loss with the number of correct
// answers.
const char* check_ports(const PlanFile& file, int32_t* classes) {
  const schema::Plan& plan = *file.plan;
  if (size_of(plan.inputs()) != 2 || size_of(plan.outputs()) != 2) {
    return "training: expected an image and a label as inputs, logits and a loss as outputs";
  }
  const schema::PlanPort& logits = *plan.outputs()->Get(0);
  if (plan.batch() != 1) return "training: expected a plan for batch 1";
  if (!is_row(file, *plan.inputs()->Get(1), 1, 1)) return "training: expected a label of 1 x 1, float32";
  if (!is_row(file, logits, 2, INT32_MAX)) return "training: expected logits of 1 x two classes or more, float32";
  if (!is_row(file, *plan.outputs()->Get(1), 2, 2)) return "training: expected a loss of 1 x 2, float32";
  *classes = logits.shape()->Get(1);
  return nullptr;
}

}  // namespace

const char* read_training(const PlanFile& file, TrainingLayout* training) {
  const schema::PlanTraining& from = *file.plan->training();
  *training = {};
  if (const char* message = check_ports(file, &training->classes)) return message;
  const uint32_t phases[] = {from.loss(), from.accumulate(), from.norm(), from.update(), size_of(file.plan->steps())};
  if (phases[4] > INT32_MAX) return "training: too many steps";
  for (int i = 0; i < 4; ++i) {
    if (phases[i] >= phases[i + 1]) return "training: expected phases that follow each other";
  }
  training->loss = static_cast<int32_t>(phases[0]);
  training->accumulate = static_cast<int32_t>(phases[1]);
  training->norm = static_cast<int32_t>(phases[2]);
  training->update = static_cast<int32_t>(phases[3]);
  if (size_of(from.regions()) != kStoredRegions) return "training: expected five regions";
  for (uint32_t i = 0; i < kStoredRegions; ++i) {
    const schema::PlanRegion& region = *from.regions()->Get(i);
    if (uint64_t{region.element()} + region.elements() > file.plan->arena_bytes() / sizeof(float)) {
      return "training: a region leaves the arena";
    }
    training->regions[i] = {sizeof(float) * size_t{region.element()}, sizeof(float) * size_t{region.elements()}};
  }
  const size_t bytes = training->regions[kStoredParameters].bytes;
  if (bytes == 0 || training->regions[kStoredGradients].bytes != bytes ||
      training->regions[kStoredGradientSum].bytes != bytes || training->regions[kStoredMomentum].bytes != bytes) {
    return "training: expected parameters, and as many gradients, sums and momenta";
  }
  if (training->regions[kStoredControl].bytes != kControlFloats * sizeof(float))
    return "training: expected 16 values of control";
  return nullptr;
}

uint32_t count_initial(const PlanFile& file) {
  return size_of(file.plan->training()->parameters());
}

const char* read_initial(const PlanFile& file, const TrainingLayout& training, uint32_t index,
                         InitialParameter* parameter) {
  const schema::PlanParameter& from = *file.plan->training()->parameters()->Get(index);
  if (const char* message = resolve_constant(file, from.constant(), from.element(), &parameter->values)) return message;
  const PlanRoom room = room_of(file);
  if (from.elements() == 0 || !readable(parameter->values, from.elements(), room)) {
    return "a parameter leaves its constant";
  }
  const ArenaRange& region = training.regions[kStoredParameters];
  if (uint64_t{from.at()} + from.elements() > region.bytes / sizeof(float)) return "a parameter leaves its region";
  parameter->elements = from.elements();
  parameter->offset = region.offset + sizeof(float) * size_t{from.at()};
  return nullptr;
}

}  // namespace sparsenet::rt

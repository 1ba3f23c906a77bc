// The parts of the runtime that only some models need, for step/linked_parts.h.
#include "device/device_session.h"
#include "format/stored/stored_quant.h"
#include "step/linked_parts.h"
#include "step/quant_check.h"

namespace sparsenet::rt {
namespace {

const char* read_all_training(const PlanFile& file, TrainingLayout* training) {
  const char* why = read_training(file, training);
  const uint32_t parameters = why ? 0 : count_initial(file);
  for (uint32_t i = 0; i < parameters && !why; ++i) {
    InitialParameter parameter;
    why = read_initial(file, *training, i, &parameter);
  }
  return why;
}

}  // namespace

extern const IntegerParts kIntegerParts, kIntegerPartsOfIntegerInputs;
extern const TrainingParts kTrainingParts;
const IntegerParts kIntegerParts = {read_quant, check_quant, device::set_input_from_integers};
const IntegerParts kIntegerPartsOfIntegerInputs = {read_quant, check_quant, nullptr};
const TrainingParts kTrainingParts = {read_all_training, device::restart_training};

}  // namespace sparsenet::rt

// All parts, for programs that bring no table of their own. They are in a file of their own so that such a table can
// take its place.
#include "step/linked_parts.h"

namespace sparsenet::rt {

extern const IntegerParts kIntegerParts;
extern const TrainingParts kTrainingParts;

const IntegerParts* linked_integers() {
  return &kIntegerParts;
}

const TrainingParts* linked_training() {
  return &kTrainingParts;
}

}  // namespace sparsenet::rt

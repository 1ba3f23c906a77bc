// All formulas, for programs that bring no table of their own. They are in a file of their own so that such a table can
// take its place.
#include "kernels/reference/activation.h"

namespace sparsenet::rt {

ActivationFormula linked_activation(uint8_t kind) {
  const int index = kind - kFirstFormula;
  return index >= 0 && index < kFormulas ? kActivationFormulas[index].formula : nullptr;
}

}  // namespace sparsenet::rt

#include "kernels/portable/activation.h"

namespace sparsenet::rt::SPARSENET_ISA {

V activate_smooth(V x, const Act& act) {
  return smooth_activation(x, act);
}

}  // namespace sparsenet::rt::SPARSENET_ISA

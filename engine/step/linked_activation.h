// The activations that a program links.
#pragma once

#include <stdint.h>

namespace sparsenet::rt {

// The formula of an activation behind Act::kTanh; null if the program does not link it. That of the library
// (kernels/reference/linked_activation.cpp) has all; a table that `sparsenet-convert --select-ops` wrote has those that
// its plan uses, and declares this function for itself (session/make_device_parts.cpp).
using ActivationFormula = float (*)(float x, float alpha);
ActivationFormula linked_activation(uint8_t kind);

}  // namespace sparsenet::rt

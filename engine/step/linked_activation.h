// The interface to the activation functions that are linked into a program.
#pragma once

#include <stdint.h>

namespace sparsenet::rt {

// Returns the formula of an activation whose kind comes after Act::kTanh, or null if it is not linked into the program.
// The library's definition (kernels/reference/linked_activation.cpp) has all formulas. A table written by
// `sparsenet-convert --select-ops` replaces it with one that has only those that its plan uses, and declares this
// function for itself (session/make_device_parts.cpp).
using ActivationFormula = float (*)(float x, float alpha);
ActivationFormula linked_activation(uint8_t kind);

}  // namespace sparsenet::rt

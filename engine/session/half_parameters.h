// Steps with float16 parameters, for kernels that take float32: these get copies, which are exact.
#pragma once

#include <vector>

#include "runtime/bound_steps.h"

namespace sparsenet {

// Whether the kernel needs copies of some of the step's parameters.
bool needs_float32(const rt::Step& step, const rt::Kernel& kernel);

// The step as its kernel is chosen: with parameters as they are, if a kernel other than the plain one takes them so;
// else as if they were float32.
rt::Step for_choice(const rt::Step& step, const rt::KernelLists& kernels);

// Bytes of the copies that must stay as long as the step is bound. (The others are needed while it is prepared.)
uint64_t kept_copies_bytes(const rt::Step& step, const rt::Kernel& kernel);

// Makes the copies and points the step to them: those that stay at *kept, which moves on; the others in `temporary`.
void copy_parameters(const rt::Kernel& kernel, rt::Step* step, uint8_t** kept,
                     std::vector<std::vector<float>>* temporary);

}  // namespace sparsenet

// Steps with float16 parameters on kernels that take only float32: the kernels get float32 copies, which are exact.
#pragma once

#include <vector>

#include "runtime/bound_steps.h"

namespace sparsenet {

// Whether the kernel needs copies of some of the step's parameters.
bool needs_float32(const rt::Step& step, const rt::Kernel& kernel);

// The step for which a kernel is to be chosen: with its parameters as they are if a kernel other than the reference
// kernel takes them so, or if the reference kernel would be chosen in either case; otherwise as if they were float32.
rt::Step for_choice(const rt::Step& step, const rt::KernelLists& kernels);

// Bytes of the copies that must stay as long as the step is bound. (The others are needed only while it is prepared.)
uint64_t kept_copies_bytes(const rt::Step& step, const rt::Kernel& kernel);

// Makes the copies and points the step to them. Copies that must stay are put at *kept, which is advanced; the others
// are put into `temporary`.
void copy_parameters(const rt::Kernel& kernel, rt::Step* step, uint8_t** kept,
                     std::vector<std::vector<float>>* temporary);

}  // namespace sparsenet

// Compares a gradient with central differences of the loss in double precision.
#pragma once

#include <string>
#include <vector>

#include "support/random.h"
#include "support/train_reference.h"

namespace sparsenet::test {

// The bound on differences, as a share of the largest element (of the norm, for a direction), and in addition to that.
constexpr double kGradientTolerance = 1e-3, kGradientAbsolute = 1e-5;

// Compares a few elements of a parameter's gradient, and two directions that change all of its elements at once.
// Describes what differs; empty if nothing does. `absolute` is added to the bound.
std::string check_gradient(const TrainReference& reference, ValueId id, const std::vector<float>& gradient,
                           double absolute, Random& random);

}  // namespace sparsenet::test

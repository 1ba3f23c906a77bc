#include "support/check_gradient.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace sparsenet::test {
namespace {

constexpr double kStep = 1e-6;  // of the central difference
constexpr size_t kSamples = 6;  // elements of a parameter

}  // namespace

std::string check_gradient(const TrainReference& reference, ValueId id, const std::vector<float>& gradient,
                           double absolute, Random& random) {
  double largest = 0, norm = 0;
  for (const float g : gradient) {
    largest = std::max(largest, std::abs(static_cast<double>(g)));
    norm += static_cast<double>(g) * static_cast<double>(g);
  }
  norm = std::sqrt(norm);
  std::ostringstream out;
  const auto difference = [&](std::vector<double> delta) {
    const double up = reference.loss_at(id, delta);
    for (double& d : delta) d = -d;
    return (up - reference.loss_at(id, delta)) / (2 * kStep);
  };
  for (size_t s = 0; s < std::min(kSamples, gradient.size()); ++s) {
    const size_t i = gradient.size() <= kSamples ? s : random.index(gradient.size());
    std::vector<double> delta(gradient.size(), 0.0);
    delta[i] = kStep;
    const double expected = difference(std::move(delta)), found = static_cast<double>(gradient[i]);
    if (std::abs(found - expected) <= kGradientTolerance * std::max(largest, std::abs(expected)) + absolute) continue;
    out << "element " << i << ": expected " << expected << ", found " << found << " (largest found " << largest << ")";
    return out.str();
  }
  for (int d = 0; d < 2; ++d) {
    std::vector<double> delta(gradient.size());
    double found = 0;
    for (size_t i = 0; i < delta.size(); ++i) {
      const double sign = random.chance(0.5) ? 1 : -1;
      delta[i] = sign * kStep;
      found += sign * static_cast<double>(gradient[i]);
    }
    const double expected = difference(std::move(delta));
    const double bound = kGradientTolerance * std::max(norm, std::abs(expected)) + absolute;
    if (std::abs(found - expected) <= bound) continue;
    out << "along a direction: expected " << expected << ", found " << found << " (norm found " << norm << ")";
    return out.str();
  }
  return {};
}

}  // namespace sparsenet::test

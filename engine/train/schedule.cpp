#include <sparsenet/train_tools.h>

#include <algorithm>
#include <cmath>

namespace sparsenet {
namespace {

constexpr double kPi = 3.14159265358979323846;

struct Stage {
  int64_t begin, of;  // from this share of the epochs on
  double factor;
};
constexpr Stage kPaper[] = {{150, 280, 0.1}, {200, 280, 0.01}, {250, 280, 0.002}};
constexpr Stage kPaperSvhn[] = {{20, 40, 0.1}, {30, 40, 0.01}};

// The paper's rate never changes in the middle of an epoch, so whole epochs are compared, and exactly.
template <size_t N>
double staged(const Stage (&stages)[N], int64_t epoch, int64_t epochs) {
  double factor = 1;
  for (const Stage& stage : stages) {
    if (epoch * stage.of >= stage.begin * epochs) factor = stage.factor;
  }
  return factor;
}

constexpr double kOneCycleRise = 0.3, kOneCycleStart = 1.0 / 25, kOneCycleEnd = 1e-4;

double one_cycle(double step, double steps) {
  // The top is a step of its own, so that it is reached with any number of steps.
  const double top = std::floor(kOneCycleRise * steps);
  if (step < top) return kOneCycleStart + (1 - kOneCycleStart) * step / top;
  const double fall = std::max(1.0, steps - 1 - top);
  return kOneCycleEnd + (1 - kOneCycleEnd) * 0.5 * (1 + std::cos(kPi * (step - top) / fall));
}

// The schedule without warm-up, as a factor of the rate.
double factor_at(Schedule schedule, int64_t step, int64_t epochs, int64_t steps_per_epoch) {
  const auto done = static_cast<double>(step), all = static_cast<double>(epochs * steps_per_epoch);
  switch (schedule) {
    case Schedule::kPaper:
      return staged(kPaper, step / steps_per_epoch, epochs);
    case Schedule::kPaperSvhn:
      return staged(kPaperSvhn, step / steps_per_epoch, epochs);
    case Schedule::kCosine:
      return 0.5 * (1 + std::cos(kPi * done / all));
    case Schedule::kOneCycle:
      return one_cycle(done, all);
    case Schedule::kConstant:
      break;
  }
  return 1;
}

}  // namespace

float LearningRate::at(int64_t step) const {
  const int64_t per_epoch = std::max<int64_t>(1, steps_per_epoch);
  const int64_t warm = std::clamp<int64_t>(warmup_epochs, 0, std::max<int64_t>(0, epochs - 1));
  const int64_t left = std::max<int64_t>(1, epochs - warm);
  const int64_t warm_steps = warm * per_epoch;
  step = std::clamp<int64_t>(step, 0, warm_steps + left * per_epoch - 1);
  if (step >= warm_steps) return static_cast<float>(rate * factor_at(schedule, step - warm_steps, left, per_epoch));
  const double first = rate * factor_at(schedule, 0, left, per_epoch);
  return static_cast<float>(first * static_cast<double>(step + 1) / static_cast<double>(warm_steps));
}

}  // namespace sparsenet

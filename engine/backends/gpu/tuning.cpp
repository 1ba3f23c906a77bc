#include "backends/gpu/tuning.h"

#include <algorithm>
#include <limits>
#include <mutex>

#include "backends/gpu/executable.h"

namespace sparsenet::gpu {
namespace {

constexpr int kRuns = 3;  // that count, after one that does not
constexpr double kNever = std::numeric_limits<double>::infinity();

// A choice that is being made.
struct Open {
  Choice choice;
  int best;
  double milliseconds = kNever;
};

class Search {
 public:
  Search(const TuningTarget& target, Tuning* tuning) : target_(target), tuning_(*tuning) {}

  // A choice may bring others with it: the size of a variant's tile, for instance. So each round makes the first open
  // choice of every step, all of them in the same runs, and the next round looks at what is open then.
  Outcome run() {
    for (;;) {
      std::vector<Open> open;
      const Outcome outcome = find_open(&open);
      if (!outcome.ok() || open.empty()) return outcome;
      int most = 0;
      for (const Open& o : open) most = std::max(most, o.choice.count);
      for (int value = 0; value < most; ++value) {
        std::vector<Open*> concerned;
        for (Open& o : open)
          if (value < o.choice.count) concerned.push_back(&o);
        try_value(concerned, value);
      }
      for (const Open& o : open) tuning_[o.choice.key] = o.best;
    }
  }

 private:
  Outcome build(const Tuning& tuning, bool measure_only, Program* program) const {
    BuildOptions options = target_.options;
    options.tuning = &tuning;
    options.measure_only = measure_only;
    return Builder(target_.plan, options).build(program);
  }

  Outcome find_open(std::vector<Open>* open) const {
    Program program;
    const Outcome outcome = build(tuning_, true, &program);
    if (!outcome.ok()) return outcome;
    std::vector<bool> has_one(target_.plan.step_count + size_t{1});
    for (const Choice& choice : program.choices) {
      if (choice.count < 2 || tuning_.count(choice.key) != 0 || has_one[choice.step]) continue;
      has_one[choice.step] = true;
      open->push_back({choice, choice.taken});
    }
    return {};
  }

  // Times the candidates that take `value` for all of these choices. If that fails, one of them is to blame: the halves
  // are tried apart.
  void try_value(const std::vector<Open*>& concerned, int value) {
    Tuning candidate = tuning_;
    for (const Open* open : concerned) candidate[open->choice.key] = value;
    std::vector<double> by_step;
    if (time(candidate, &by_step).ok()) {
      for (Open* open : concerned) {
        const double milliseconds = by_step[open->choice.step];
        if (milliseconds >= open->milliseconds) continue;
        open->milliseconds = milliseconds;
        open->best = value;
      }
    } else if (concerned.size() > 1) {
      const auto middle = concerned.begin() + static_cast<std::ptrdiff_t>(concerned.size() / 2);
      try_value({concerned.begin(), middle}, value);
      try_value({middle, concerned.end()}, value);
    }
  }

  // The least milliseconds of each step.
  Outcome time(const Tuning& candidate, std::vector<double>* by_step) const {
    Program program;
    Reservation launches, weights;
    Outcome outcome = build(candidate, true, &program);
    if (outcome.ok())
      outcome = launches.reserve(target_.host, SNP_HOST_MEMORY, Executable::launch_bytes(program), "tuning");
    if (outcome.ok()) outcome = weights.reserve(target_.host, SNP_HOST_MEMORY, program.weights_bytes, "tuning");
    if (outcome.ok()) outcome = build(candidate, false, &program);
    std::unique_ptr<Executable> executable;
    if (outcome.ok())
      outcome = Executable::load(target_.device, target_.host, target_.cache_folder, std::move(program), &executable);
    if (!outcome.ok()) return outcome;
    by_step->assign(target_.plan.step_count + size_t{1}, kNever);
    std::vector<double> milliseconds;
    for (int i = 0; i <= kRuns; ++i) {
      outcome = executable->time(&milliseconds);
      if (!outcome.ok()) return outcome;
      if (i == 0) continue;
      std::vector<double> sums(by_step->size());
      const std::vector<Launch>& timed = executable->program().launches;
      for (size_t k = 0; k < timed.size(); ++k) sums[timed[k].step] += milliseconds[k];
      for (size_t k = 0; k < sums.size(); ++k) (*by_step)[k] = std::min((*by_step)[k], sums[k]);
    }
    return {};
  }

  const TuningTarget& target_;
  Tuning& tuning_;
};

}  // namespace

Outcome tune(const TuningTarget& target, const TuningFile& file, Tuning* tuning) {
  // One search at a time: two would disturb each other's times.
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  *tuning = read_tuning(file);
  const size_t known = tuning->size();
  const Outcome outcome = Search(target, tuning).run();
  if (!outcome.ok() || tuning->size() == known) return outcome;
  // Another process may have tuned meanwhile: what is in the file stays.
  Tuning merged = read_tuning(file);
  merged.insert(tuning->begin(), tuning->end());
  *tuning = std::move(merged);
  const Outcome written = write_tuning(file, *tuning);
  if (!written.ok()) target.host.log(written.message);
  return {};
}

}  // namespace sparsenet::gpu

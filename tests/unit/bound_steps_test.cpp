// The needs of steps are added up without overflow, whatever a file states for them.
#include "runtime/bound_steps.h"

#include <doctest/doctest.h>

#include <vector>

using namespace sparsenet;

namespace {

rt::KernelNeeds asked;

bool takes_all(const rt::Step&) {
  return true;
}
void ask(const rt::Step&, rt::KernelNeeds* needs) {
  *needs = asked;
}

const rt::Kernel kHungry = {
    .name = "hungry",
    .backend = "test",
    .supports = takes_all,
    .query = ask,
    .prepare = nullptr,
    .run = nullptr,
};
const rt::Kernel* const kList[] = {&kHungry, nullptr};

rt::Fit fit;

int32_t measure(const std::vector<rt::Step>& steps, std::vector<rt::BoundStep>* bound, rt::PlanNeeds* needs) {
  const rt::Kernel* const* lists[] = {kList};
  bound->assign(steps.size(), {});
  return rt::measure_steps(steps.data(), static_cast<int32_t>(steps.size()), {lists, 1}, bound->data(), needs, &fit);
}

}  // namespace

TEST_CASE("sizes are rounded up and never wrap") {
  CHECK(rt::aligned_bytes(0) == 0);
  CHECK(rt::aligned_bytes(1) == 64);
  CHECK(rt::aligned_bytes(64) == 64);
  CHECK(rt::aligned_bytes(UINT64_MAX) > UINT64_MAX - 64);
  CHECK(rt::add_bytes(3, 4) == 7);
  CHECK(rt::add_bytes(UINT64_MAX, 1) == UINT64_MAX);
  CHECK(rt::add_bytes(UINT64_MAX - 5, UINT64_MAX - 5) == UINT64_MAX);
  CHECK(rt::multiply_bytes(5, 3) == 15);
  CHECK(rt::multiply_bytes(UINT64_MAX, 0) == 0);
  CHECK(rt::multiply_bytes(UINT64_MAX / 2, 3) == UINT64_MAX);
  CHECK(rt::multiply_bytes(uint64_t{1} << 62, 4) == UINT64_MAX);

  rt::MemoryLayout layout;
  CHECK(layout.take(100) == 0);
  CHECK(layout.take(0) == 128);
  CHECK(layout.take(64) == 128);
  CHECK(layout.end() == 192);
  CHECK(layout.fits());
  (void)layout.take(UINT64_MAX - 100);
  CHECK_FALSE(layout.fits());
  (void)layout.take(UINT64_MAX - 100);  // stays too much
  CHECK_FALSE(layout.fits());
}

TEST_CASE("steps that need more than can be addressed are told from steps without a kernel") {
  const std::vector<rt::Step> steps(3);
  std::vector<rt::BoundStep> bound;
  rt::PlanNeeds needs;
  const uint64_t most = rt::kMostBytes / 64 * 64;
  uint64_t rt::KernelNeeds::*const members[] = {&rt::KernelNeeds::state_bytes, &rt::KernelNeeds::weight_bytes,
                                                &rt::KernelNeeds::scratch_bytes, &rt::KernelNeeds::shared_bytes};
  for (const auto member : members) {
    asked = {0, 0, 0, 0, 1};
    asked.*member = 100;
    CHECK(measure(steps, &bound, &needs) == -1);
    for (const uint64_t bytes : {most + 1, UINT64_MAX - 10, UINT64_MAX}) {
      asked.*member = bytes;
      CHECK(measure(steps, &bound, &needs) == 0);
      CHECK(fit == rt::Fit::kTooLarge);
      CHECK(bound[0].kernel == &kHungry);
    }
    // One such step fits. If the members add up over steps, three of half the size are too large, and the sum does not
    // wrap.
    const bool adds_up = member == members[0] || member == members[1];
    asked.*member = most / 128 * 64;
    CHECK(measure(steps, &bound, &needs) == (adds_up ? 2 : -1));
  }
  const rt::Kernel* const none[] = {nullptr};
  const rt::Kernel* const* lists[] = {none};
  rt::BoundStep one{&kHungry, nullptr, 1, false};
  CHECK(rt::measure_step(steps[0], {lists, 1}, &one, &needs) == rt::Fit::kNoKernel);
  CHECK(one.kernel == nullptr);
}

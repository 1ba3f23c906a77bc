// Steps as large as a stored plan can make them: for whatever passes the checks, every kernel computes its needs
// correctly. Nothing of such a size is allocated; kernels are only asked what they would need.
#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "kernels/compact/compact.h"
#include "kernels/isa.h"
#include "kernels/reference/reference.h"
#include "step/step_check.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

const float kSomewhere = 0;

// As if there were constants of any length, and an arena with as many floats as plans can address.
const rt::PlanRoom kRoom = {
    SIZE_MAX / 2 < 4 * uint64_t{UINT32_MAX} ? SIZE_MAX / 2 : static_cast<size_t>(4 * uint64_t{UINT32_MAX}),
    [](const void*, const void*) { return INT64_MAX; }, nullptr};

// A step whose views consist of one piece each, at the arena's start.
struct Extreme {
  rt::Step step{};
  rt::Segment in, in2, out;
  rt::View weight_gradient{};

  explicit Extreme(rt::StepOp op) {
    step.op = op;
    step.name = "extreme";
    step.conv.groups = step.window.kernel_h = step.window.kernel_w = step.window.stride_h = step.window.stride_w =
        step.window.dilation_h = step.window.dilation_w = 1;
    step.act = {rt::Act::kClamp, -1.f, 1.f, 0.f, 0.f};
    if (op == rt::StepOp::kConv) step.conv.weight.data = &kSomewhere;
    if (op != rt::StepOp::kAttention) return;
    for (rt::Parameter& p : step.attention.params) p.data = &kSomewhere;
  }
  static void set(rt::View* view, rt::Segment* segment, const std::vector<int32_t>& nhwc, int32_t pixel_stride) {
    *segment = {0, nullptr, nhwc[3], pixel_stride};
    *view = {nhwc[0], nhwc[1], nhwc[2], nhwc[3], segment, 1};
  }
};

// Asks the kernels of the current instruction set, the compact and the plain ones; returns how many support the step.
int ask_all(const rt::Step& step) {
  const rt::Kernel* const* lists[] = {active_isa().kernels, rt::compact::kPortableKernels, rt::kReferenceKernels};
  int asked = 0;
  for (const rt::Kernel* const* list : lists) {
    for (; *list; ++list) {
      if (!(*list)->supports(step)) continue;
      rt::KernelNeeds needs{};
      (*list)->query(step, &needs);
      ++asked;
      CAPTURE(std::string((*list)->name));
      CHECK(needs.chunks >= 1);
      // Far above what a step of 2^30 elements can need, and far below what an overflowed number would be.
      for (const uint64_t bytes : {needs.state_bytes, needs.weight_bytes, needs.scratch_bytes, needs.shared_bytes}) {
        CHECK(bytes < uint64_t{1} << 50);
      }
      if (std::string((*list)->name).rfind("conv2d_direct", 0) == 0) {
        const int64_t width = int64_t{step.out.w - 1} * step.window.stride_w +
                              int64_t{step.window.kernel_w - 1} * step.window.dilation_w + 1;
        CHECK(needs.scratch_bytes >= static_cast<uint64_t>(width * step.in.c) * sizeof(float));
        CHECK(needs.weight_bytes >= uint64_t{4} * static_cast<uint64_t>(step.out.c) *
                                        static_cast<uint64_t>(step.in.c / step.conv.groups) *
                                        static_cast<uint64_t>(step.window.kernel_h * step.window.kernel_w));
      }
    }
  }
  return asked;
}

int32_t pick(std::mt19937* random, const std::vector<int32_t>& values) {
  return values[(*random)() % values.size()];
}

const std::vector<int32_t> kSizes = {
    1, 1, 2, 3, 17, 4096, 65535, 1 << 20, 1 << 27, (1 << 29) + 1, (1 << 30) - 1, 1 << 30, (1 << 30) + 1, INT32_MAX};

}  // namespace

TEST_CASE("extreme convolutions are refused, or counted rightly") {
  std::mt19937 random(1);
  int accepted = 0, refused = 0;
  for (int i = 0; i < scaled_by_effort(200000); ++i) {
    const bool gradient = i % 4 == 0;
    Extreme e(gradient ? rt::StepOp::kConvGradWeight : rt::StepOp::kConv);
    rt::Step& s = e.step;
    const int32_t n = pick(&random, {1, 1, 1, 2, 65536}), c = pick(&random, kSizes);
    std::vector<int32_t> in = {n, pick(&random, kSizes), pick(&random, kSizes), c};
    // Two of the three are 1 most of the time; otherwise nothing would ever be small enough.
    for (size_t keep = random() % 5, d = 1; d < 4; ++d) {
      if (keep < 3 && d != keep + 1) in[d] = 1;
    }
    s.window.kernel_h = pick(&random, {1, 1, 2, 3, 4096});
    s.window.kernel_w = pick(&random, {1, 1, 2, 3, 4096});
    s.window.stride_h = pick(&random, {1, 1, 2, 4096});
    s.window.stride_w = pick(&random, {1, 1, 2, 4096});
    s.window.dilation_h = pick(&random, {1, 1, 2, 4096});
    s.window.dilation_w = pick(&random, {1, 1, 2, 4096});
    for (int32_t* pad : {&s.window.pad_top, &s.window.pad_left, &s.window.pad_bottom, &s.window.pad_right})
      *pad = pick(&random, {0, 0, 1, 4096});
    const int64_t rows = int64_t{in[1]} + s.window.pad_top + s.window.pad_bottom -
                         int64_t{s.window.kernel_h - 1} * s.window.dilation_h - 1;
    const int64_t columns = int64_t{in[2]} + s.window.pad_left + s.window.pad_right -
                            int64_t{s.window.kernel_w - 1} * s.window.dilation_w - 1;
    if (rows < 0 || columns < 0) continue;
    const int64_t oh = rows / s.window.stride_h + 1, ow = columns / s.window.stride_w + 1;
    if (oh > INT32_MAX || ow > INT32_MAX) continue;
    s.conv.groups = random() % 4 == 0 ? in[3] : 1;
    const int32_t oc = s.conv.groups > 1 ? s.conv.groups : pick(&random, kSizes);
    const std::vector<int32_t> out = {n, static_cast<int32_t>(oh), static_cast<int32_t>(ow), oc};
    Extreme::set(&s.in, &e.in, in, random() % 3 == 0 ? 0 : in[3]);
    if (gradient) {
      Extreme::set(&s.in2, &e.in2, out, oc);
      int64_t weights = 1;
      for (const int32_t factor : {oc, in[3] / s.conv.groups, s.window.kernel_h, s.window.kernel_w}) {
        if (weights <= INT32_MAX) weights *= factor;  // both below 2^31; beyond that the case is not used
      }
      if (weights > INT32_MAX) continue;
      Extreme::set(&s.out, &e.out, {1, 1, 1, static_cast<int32_t>(weights)}, static_cast<int32_t>(weights));
      s.conv.weight = {};
    } else {
      Extreme::set(&s.out, &e.out, out, oc);
    }
    if (rt::check_step(s, {-1, -1}, kRoom)) {
      ++refused;
      continue;
    }
    CHECK(ask_all(s) > 0);
    ++accepted;
  }
  MESSAGE(refused, " refused, ", accepted, " accepted");
  CHECK(refused > scaled_by_effort(1000));
  CHECK(accepted > scaled_by_effort(1000));
}

TEST_CASE("other extreme steps are refused, or counted rightly") {
  std::mt19937 random(2);
  int accepted = 0;
  for (int i = 0; i < scaled_by_effort(60000); ++i) {
    const rt::StepOp ops[] = {rt::StepOp::kPool,  rt::StepOp::kGlobalPool, rt::StepOp::kAffine,
                              rt::StepOp::kUnary, rt::StepOp::kBinary,     rt::StepOp::kAttention};
    Extreme e(ops[i % 6]);
    rt::Step& s = e.step;
    std::vector<int32_t> in = {pick(&random, kSizes), pick(&random, kSizes), pick(&random, kSizes),
                               pick(&random, kSizes)};
    for (size_t keep = random() % 5, d = 0; d < 4; ++d) {
      if (keep < 4 && d != keep) in[d] = 1;
    }
    std::vector<int32_t> out = in;
    if (s.op == rt::StepOp::kGlobalPool) out = {in[0], 1, 1, in[3]};
    if (s.op == rt::StepOp::kAffine) s.affine.scale = s.affine.shift = {&kSomewhere};
    if (s.op == rt::StepOp::kBinary) Extreme::set(&s.in2, &e.in2, in, in[3]);
    if (s.op == rt::StepOp::kAttention) s.attention.hidden = random() % 2 == 0 ? 0 : pick(&random, kSizes);
    for (int k = 4; k < 8 && s.attention.hidden > 0; ++k) s.attention.params[k] = {};
    Extreme::set(&s.in, &e.in, in, in[3]);
    Extreme::set(&s.out, &e.out, out, out[3]);
    if (rt::check_step(s, {-1, -1}, kRoom)) continue;
    CHECK(ask_all(s) > 0);
    ++accepted;
  }
  MESSAGE(accepted, " accepted");
  CHECK(accepted > scaled_by_effort(1000));
}

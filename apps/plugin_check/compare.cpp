// What a plan's result should be, and how far a plugin's is from it.
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "kernels/reference/integers.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/walk.h"
#include "plugin_check/case.h"
#include "plugin_check/failure.h"
#include "runtime/bound_steps.h"

namespace sparsenet::plugin_check {
namespace {

struct Aligned {
  explicit Aligned(size_t bytes) : memory(bytes + rt::kAlignment) {
    const auto at = reinterpret_cast<uintptr_t>(memory.data());
    begin = memory.data() + (rt::kAlignment - at % rt::kAlignment) % rt::kAlignment;
  }
  std::vector<uint8_t> memory;
  uint8_t* begin;
};

float float_at(const std::vector<uint8_t>& arena, size_t offset) {
  float value;
  std::memcpy(&value, arena.data() + offset, sizeof value);
  return value;
}

// Whether a step writes the elements of its output that its index space names, instead of all.
bool writes_index_space(const rt::Step& s) {
  return s.strided != nullptr;
}

}  // namespace

std::vector<int32_t> written_by(const Case& c) {
  std::vector<int32_t> writer(c.arena().size(), -1);
  for (size_t i = 0; i < c.steps().size(); ++i) {
    const rt::Step& s = c.steps()[i];
    const size_t size = rt::size_of(s.out.type);
    const auto mark = [&](const rt::Segment& segment, int64_t element) {
      const size_t at = segment.offset + static_cast<size_t>(element) * size;
      for (size_t byte = at; byte < at + size; ++byte) writer[byte] = static_cast<int32_t>(i);
    };
    const rt::Segment& first = s.out.segments[0];
    if (writes_index_space(s)) {
      for (int64_t e = 0; s.strided->fill_first && e < s.strided->out_elements; ++e) mark(first, e);
      rt::for_each(*s.strided, 0, s.strided->rank,
                   [&](const rt::Walk& walk) { mark(first, s.strided->out_start + walk.out); });
      continue;
    }
    const int64_t pixels = int64_t{s.out.n} * s.out.h * s.out.w;
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
      for (int32_t channel = 0; channel < first.channels; ++channel) {
        mark(first, pixel * first.pixel_stride + channel);
      }
    }
  }
  return writer;
}

std::vector<uint8_t> reference_run(const Case& c) {
  const rt::Kernel* const* const lists[] = {rt::kReferenceKernels, rt::kIntegerReferenceKernels};
  const rt::KernelLists kernels{lists, 2};
  const auto count = static_cast<int32_t>(c.steps().size());
  std::vector<rt::BoundStep> bound(c.steps().size());
  rt::PlanNeeds needs{};
  rt::Fit fit = rt::Fit::kFits;
  const int32_t failed = rt::measure_steps(c.steps().data(), count, kernels, bound.data(), &needs, &fit);
  if (failed >= 0) throw std::logic_error("case '" + c.name() + "': no plain kernel runs it");

  Aligned arena(c.arena().size()), state(needs.state_bytes), weights(needs.weight_bytes), scratch(needs.scratch_bytes),
      shared(needs.shared_bytes);
  std::memcpy(arena.begin, c.arena().data(), c.arena().size());
  rt::BoundSteps steps;
  steps.init(bound.data(), {arena.begin, state.begin, weights.begin, nullptr, scratch.begin, shared.begin, 0},
             {nullptr, nullptr, 1}, false);
  for (const rt::Step& step : c.steps()) {
    if (const char* message = steps.bind(step)) throw std::logic_error(message);
  }
  steps.execute(0, count);
  steps.release();
  return {arena.begin, arena.begin + c.arena().size()};
}

double compare(const Case& c, const std::vector<uint8_t>& expected, const std::vector<uint8_t>& found,
               double tolerance) {
  const std::vector<int32_t> writer = written_by(c);
  std::vector<double> largest(c.steps().size(), 0);
  for (const Region& region : c.regions()) {
    if (region.type != rt::DataType::kFloat32) continue;
    for (int64_t i = 0; i < region.elements; ++i) {
      const size_t at = region.offset + static_cast<size_t>(i) * 4;
      const double size = std::fabs(static_cast<double>(float_at(expected, at)));
      if (writer[at] < 0 || !std::isfinite(size)) continue;
      double& most = largest[static_cast<size_t>(writer[at])];
      if (size > most) most = size;
    }
  }
  // Results of next to nothing are what is left of sums that cancel out: their errors are those of the terms.
  constexpr double kLeast = 0.05;
  double worst = 0;
  for (const Region& region : c.regions()) {
    const size_t size = rt::size_of(region.type);
    for (int64_t i = 0; i < region.elements; ++i) {
      const size_t at = region.offset + static_cast<size_t>(i) * size;
      if (std::memcmp(expected.data() + at, found.data() + at, size) == 0) continue;
      const bool real = region.type == rt::DataType::kFloat32;
      // Of what is not a number, storage as float16 does not keep all bits.
      if (real && std::isnan(float_at(expected, at)) && std::isnan(float_at(found, at))) continue;
      if (writer[at] < 0) {
        throw Failure(text("it wrote outside the output: byte %llu of the arena of %llu bytes (%s)",
                           static_cast<unsigned long long>(at), static_cast<unsigned long long>(expected.size()),
                           c.describe().c_str()));
      }
      if (!real) {
        const bool is_signed = region.type == rt::DataType::kInt8;
        throw Failure(text("expected the integer %d, found %d (%s)",
                           is_signed ? static_cast<int8_t>(expected[at]) : expected[at],
                           is_signed ? static_cast<int8_t>(found[at]) : found[at], c.describe().c_str()));
      }
      const double want = static_cast<double>(float_at(expected, at)), have = static_cast<double>(float_at(found, at));
      const double error = std::fabs(want - have) / std::fmax(largest[static_cast<size_t>(writer[at])], kLeast);
      // An infinity or a NaN that only one of them has fails: its error is no number, or infinite.
      if (!(error <= tolerance)) {
        throw Failure(text("expected %.7g, found %.7g: %.2g of the largest number, where %.2g is allowed (%s)", want,
                           have, error, tolerance, c.describe().c_str()));
      }
      worst = std::fmax(worst, error);
    }
  }
  return worst;
}

}  // namespace sparsenet::plugin_check

// Which steps go to a plugin, and what crosses between the CPU's steps and the device's.
#include "session/plugin_parts.h"

#include <doctest/doctest.h>

#include <set>

#include "passes/pipeline.h"
#include "support/architecture_graph.h"
#include "support/random.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

Plan plan_of(const std::string& architecture) {
  Graph graph = graph_of(architecture);
  REQUIRE(graph.set_batch(1).ok());
  REQUIRE(run_passes(&graph, PassLevel::kAll).ok());
  auto plan = make_plan(graph);
  REQUIRE_MESSAGE(plan.ok(), plan.status().message());
  return std::move(*plan);
}

Placement place(const Plan& plan, const std::set<size_t>& missing) {
  std::vector<uint8_t> supported(plan.steps.size(), 1);
  std::vector<const char*> reasons(plan.steps.size(), nullptr);
  for (const size_t i : missing) {
    supported[i] = 0;
    reasons[i] = "no such kernel";
  }
  return place_steps(plan, supported, reasons, "some");
}

// Whether two ranges of bytes of the arena have a byte in common.
bool overlap(const rt::Segment& a, int64_t a_bytes, const PlanPort& port) {
  const auto begin = static_cast<int64_t>(port.view.segments[0].offset);
  const int64_t end = begin + static_cast<int64_t>(bytes_of(port));
  return static_cast<int64_t>(a.offset) < end && begin < static_cast<int64_t>(a.offset) + a_bytes;
}

}  // namespace

TEST_CASE("a plan whose steps are all supported is one part, without a word") {
  const Plan plan = plan_of("sparsenet-abc-v0");
  const Placement placement = place(plan, {});
  CHECK(placement.begin == 0);
  CHECK(placement.end == plan.steps.size());
  CHECK(placement.missing.empty());
  PluginParts parts;
  REQUIRE(parts.cut(plan, placement.begin, placement.end).ok());
  CHECK_FALSE(parts.has_host_steps());
  CHECK(parts.begins_on_device());
  CHECK(parts.ends_on_device());
}

TEST_CASE("steps at both ends go to the CPU; a gap in the middle leaves the larger side to the device") {
  const Plan plan = plan_of("sparsenet-abc-v0");
  const size_t last = plan.steps.size() - 1;
  Placement placement = place(plan, {0, last});
  CHECK(placement.begin == 1);
  CHECK(placement.end == last);
  CHECK(placement.missing.find("2 of ") != std::string::npos);
  CHECK(placement.missing.find(std::string("node '") + plan.steps[0].name + "' (no such kernel)") != std::string::npos);
  CHECK(placement.consequence.find("the CPU runs 2 steps, 1 of them before") != std::string::npos);

  placement = place(plan, {3});
  CHECK(placement.begin == 4);
  CHECK(placement.end == plan.steps.size());

  // Every second step: no run has half of the work.
  std::set<size_t> many;
  for (size_t i = 0; i < plan.steps.size(); i += 2) many.insert(i);
  placement = place(plan, many);
  CHECK_FALSE(placement.on_device);
  CHECK(placement.consequence == "the CPU runs the whole network");
}

TEST_CASE("what later steps and outputs read crosses every cut") {
  for (const char* architecture : {"sparsenet-abc-v0", "densenet-bc-40-12", "resnet8"}) {
    const Plan plan = plan_of(architecture);
    Random random(7);
    for (int round = 0; round < scaled_by_effort(40); ++round) {
      const auto cut = static_cast<size_t>(random.integer(1, static_cast<int>(plan.steps.size()) - 1));
      PluginParts parts;
      REQUIRE(parts.cut(plan, cut, plan.steps.size()).ok());
      REQUIRE(parts.host_steps_before() == cut);
      // A byte that a step behind the cut reads, and that no step behind the cut has written before, must be in a port.
      std::vector<bool> written(plan.arena_bytes, false), carried(plan.arena_bytes, false);
      for (const PlanPort& port : parts.device().inputs) {
        const size_t begin = port.view.segments[0].offset;
        for (size_t b = begin; b < begin + bytes_of(port); ++b) carried[b] = true;
      }
      size_t lost = 0;
      for (size_t i = cut; i < plan.steps.size(); ++i) {
        const auto visit = [&](const rt::View& v, auto use) {
          for (int32_t k = 0; k < v.segment_count; ++k) {
            const rt::Segment& s = v.segments[k];
            if (s.constant) continue;
            const size_t size = rt::size_of(v.type);
            for (int64_t p = 0; p < int64_t{v.n} * v.h * v.w; ++p) {
              const size_t begin = s.offset + static_cast<size_t>(p * s.pixel_stride) * size;
              for (size_t b = begin; b < begin + static_cast<size_t>(s.channels) * size; ++b) use(b);
            }
          }
        };
        const auto read = [&](size_t b) { lost += !written[b] && !carried[b]; };
        visit(plan.steps[i].in, read);
        visit(plan.steps[i].in2, read);
        visit(plan.steps[i].out, [&](size_t b) { written[b] = true; });
      }
      CHECK_MESSAGE(lost == 0, architecture, ", cut at step ", cut, ": ", lost, " bytes do not cross");
    }
  }
}

TEST_CASE("no two buffers that cross a cut overlap") {
  const Plan plan = plan_of("sparsenet-abc-v1");
  for (size_t cut = 1; cut < plan.steps.size(); ++cut) {
    PluginParts parts;
    REQUIRE(parts.cut(plan, cut, plan.steps.size()).ok());
    const std::vector<PlanPort>& ports = parts.device().inputs;
    for (size_t a = 0; a < ports.size(); ++a) {
      for (size_t b = a + 1; b < ports.size(); ++b) {
        const bool both = overlap(ports[a].view.segments[0], static_cast<int64_t>(bytes_of(ports[a])), ports[b]);
        REQUIRE_FALSE_MESSAGE(both, "cut ", cut, ": '", ports[a].name, "' and '", ports[b].name, "'");
      }
    }
  }
}

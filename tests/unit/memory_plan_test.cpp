// The memory plan: no two live buffers overlap, all are aligned, totals are correct, and the family stays within its
// limits.
#include <doctest/doctest.h>
#include <sparsenet/architecture.h>
#include <sparsenet/session.h>

#include <algorithm>

#include "plan/memory_planner.h"
#include "support/check_session.h"
#include "support/describe.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

Result<Session> planned(const Graph& graph, Backend backend, int threads = 1) {
  SessionOptions options;
  options.backend = backend;
  options.threads = threads;
  options.batch = graph.shape(graph.inputs[0])[0];
  return Session::create(graph, options);
}

// Empty if the plan is sound.
std::string check_plan(const Session& session) {
  const MemoryReport memory = session.memory();
  const std::vector<BufferInfo>& buffers = session.buffers();
  const auto steps = static_cast<int>(session.steps().size());
  size_t most_live = 0, end = 0;
  for (const BufferInfo& b : buffers) {
    if (b.offset % 64 != 0) return "buffer " + b.name + " at " + std::to_string(b.offset) + " is not aligned";
    if (b.bytes == 0 || b.offset > memory.arena_bytes || b.bytes > memory.arena_bytes - b.offset) {
      return "buffer " + b.name + " leaves the arena";
    }
    if (b.first_step > b.last_step || b.first_step < -1 || b.last_step > steps) {
      return "buffer " + b.name + " lives from " + std::to_string(b.first_step) + " to " + std::to_string(b.last_step);
    }
    end = std::max(end, b.offset + b.bytes);
  }
  for (size_t i = 0; i < buffers.size(); ++i) {
    for (size_t j = i + 1; j < buffers.size(); ++j) {
      const BufferInfo &a = buffers[i], &b = buffers[j];
      const bool in_time = a.first_step <= b.last_step && b.first_step <= a.last_step;
      const bool in_space = a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
      if (in_time && in_space) {
        return "buffers " + a.name + " (steps " + std::to_string(a.first_step) + ".." + std::to_string(a.last_step) +
               ") and " + b.name + " (steps " + std::to_string(b.first_step) + ".." + std::to_string(b.last_step) +
               ") overlap";
      }
    }
  }
  for (int step = -1; step <= steps; ++step) {
    size_t live = 0;
    for (const BufferInfo& b : buffers) {
      if (b.first_step <= step && step <= b.last_step) live += b.bytes;
    }
    most_live = std::max(most_live, live);
  }
  if (memory.arena_bytes < memory.lower_bound_bytes) return "the arena is smaller than its lower bound";
  // Each buffer may be rounded up to the alignment.
  if (memory.lower_bound_bytes > most_live || most_live > memory.lower_bound_bytes + 64 * buffers.size()) {
    return "lower bound " + std::to_string(memory.lower_bound_bytes) + ", but " + std::to_string(most_live) +
           " bytes live at once";
  }
  if (memory.arena_bytes > end + 64) return "the arena is larger than its buffers";
  return "";
}

Graph architecture(const std::string& text) {
  const auto arch = parse_architecture(text);
  REQUIRE_MESSAGE(arch.ok(), arch.status().message());
  auto graph = build_graph(*arch, 1);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  return std::move(*graph);
}

}  // namespace

TEST_CASE("the planner on random lifetimes: sound, the same every time, and near the lower bound") {
  double worst = 1;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Random random(seed);
    std::vector<PlannedBuffer> buffers(static_cast<size_t>(random.integer(0, 60)));
    for (PlannedBuffer& b : buffers) {
      b.bytes = static_cast<size_t>(random.integer(1, random.chance(0.5) ? 4000 : 100));
      b.first = random.integer(0, 50);
      b.last = b.first + random.integer(0, random.chance(0.2) ? 50 : 4);
    }
    std::vector<PlannedBuffer> planned = buffers, again = buffers;
    const size_t bound = memory_lower_bound(buffers), arena = plan_memory(&planned);
    CHECK(plan_memory(&again) == arena);
    REQUIRE(planned.size() == buffers.size());
    size_t end = 0;
    for (size_t i = 0; i < planned.size(); ++i) {
      const PlannedBuffer& a = planned[i];
      CHECK(a.offset == again[i].offset);
      CHECK(a.offset % kArenaAlignment == 0);
      CHECK(a.bytes >= buffers[i].bytes);
      CHECK(a.first == buffers[i].first);
      CHECK(a.last == buffers[i].last);
      end = std::max(end, a.offset + a.bytes);
      for (size_t j = i + 1; j < planned.size(); ++j) {
        const PlannedBuffer& b = planned[j];
        const bool in_time = a.first <= b.last && b.first <= a.last;
        const bool in_space = a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
        CHECK_FALSE((in_time && in_space));
      }
    }
    CHECK(arena == end);
    CHECK(arena >= bound);
    if (bound > 0) worst = std::max(worst, static_cast<double>(arena) / static_cast<double>(bound));
  }
  MESSAGE("at worst ", worst, " times the lower bound");
  CHECK(worst < 1.5);
}

TEST_CASE("no two live buffers overlap, on random graphs") {
  for (const std::vector<Generator>* list : {&data_generators(), &network_generators()}) {
    for (const Generator& generator : *list) {
      const int seeds = scaled_by_effort(list == &data_generators() ? 8 : 40);
      for (int s = 0; s < seeds; ++s) {
        const auto seed = static_cast<uint64_t>(1000 + s);
        const Graph graph = make_graph(generator, seed);
        const auto session = planned(graph, Backend::kPortable, 1 + s % 2);
        if (!session.ok() && generator.may_refuse) continue;
        REQUIRE_MESSAGE(session.ok(), label(generator, seed), ": ", session.status().message(), "\n",
                        describe_graph(graph));
        const std::string problem = check_plan(*session);
        CHECK_MESSAGE(problem.empty(), label(generator, seed), ": ", problem, "\n", describe_graph(graph));
      }
    }
  }
}

TEST_CASE("SparseNet and DenseNet presets: nothing is copied, and memory stays within the bars") {
  struct Bar {
    std::string arch;
    size_t most_bytes;  // arena + scratch at batch 1, one thread; 0: no limit
  };
  const Bar bars[] = {{"sparsenet-basic-v0", 0},
                      {"sparsenet-bc-v0", 0},
                      {"sparsenet-abc-v0", 0},
                      {"sparsenet-abc-v0:attention=se", 0},
                      {"sparsenet-abc-v0:keep=7-0", 0},
                      {"sparsenet-abc-v0:keep=0-7", 0},
                      {"sparsenet-basic-v1", 0},
                      {"sparsenet-bc-v1", 0},
                      {"sparsenet-abc-v1", 1'600'000},
                      {"sparsenet-abc-v2", 0},
                      {"sparsenet-abc-v3", 0},
                      {"sparsenet-abc-v4", 5'200'000},
                      {"densenet-bc-100-12", 2'100'000},
                      {"densenet-40-12", 0},
                      {"sparsenet-abc:stem=imagenet,blocks=6-8-10-12,classes=1000", 0}};
  for (const Bar& bar : bars) {
    const Graph graph = architecture(bar.arch);
    for (Backend backend : cpu_backends()) {
      if (backend == Backend::kReference) continue;
      const auto session = planned(graph, backend);
      REQUIRE_MESSAGE(session.ok(), bar.arch, ": ", session.status().message());
      std::string copies;
      for (const StepInfo& step : session->steps()) {
        if (step.is_copy) copies += " " + step.name;
      }
      CHECK_MESSAGE(copies.empty(), bar.arch, " on ", text(backend), " copies in", copies);
      const MemoryReport memory = session->memory();
      const std::string where = bar.arch + " on " + text(backend) + ": arena " + std::to_string(memory.arena_bytes) +
                                ", lower bound " + std::to_string(memory.lower_bound_bytes) + ", scratch " +
                                std::to_string(memory.scratch_bytes);
      if (bar.most_bytes) {
        MESSAGE(where);
        CHECK_MESSAGE(memory.arena_bytes + memory.scratch_bytes <= bar.most_bytes, where);
        CHECK_MESSAGE(10 * memory.arena_bytes <= 11 * memory.lower_bound_bytes, where);
      }
      CHECK_MESSAGE(check_plan(*session).empty(), where, ": ", check_plan(*session));
      CHECK_MESSAGE(memory.weights_bytes > 0, where);
    }
  }
}

TEST_CASE("oneDNN never falls back to its reference convolutions") {
  if (!is_available(Backend::kOneDnn)) return skip("oneDNN kernels", "the onednn backend");
  for (const std::string& arch : std::vector<std::string>{"sparsenet-abc-v1", "densenet-bc-100-12", "resnet20"}) {
    const auto session = planned(architecture(arch), Backend::kOneDnn);
    REQUIRE_MESSAGE(session.ok(), session.status().message());
    for (const StepInfo& step : session->steps()) {
      CHECK_MESSAGE(step.kernel.find("ref:") == std::string::npos, arch, " ", step.name, ": ", step.kernel);
    }
  }
}

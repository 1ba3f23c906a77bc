// What the GPU plugins make of whole networks, for devices of several sizes, without any of them: the launches of a
// run, and the memory that they move. These do not depend on a driver, so they are held here.
#include <doctest/doctest.h>

#include "backends/gpu/builder.h"
#include "passes/pipeline.h"
#include "plugin/plan_data.h"
#include "session/plugin_parts.h"
#include "session/stored_constants.h"
#include "support/architecture_graph.h"
#include "support/image_networks.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

StoredPlan plan_of(const Graph& source, int64_t batch) {
  Graph graph = source;
  REQUIRE(graph.set_batch(batch).ok());
  REQUIRE(run_passes(&graph, PassLevel::kAll).ok());
  auto plan = make_plan(graph);
  REQUIRE_MESSAGE(plan.ok(), plan.status().message());
  auto stored = gather_constants(std::move(*plan), graph, source);
  REQUIRE_MESSAGE(stored.ok(), stored.status().message());
  return std::move(*stored);
}

gpu::Traits device(uint32_t units) {
  gpu::Traits traits;
  traits.name = "a GPU";
  traits.units = units;
  traits.local_bytes = 49152;
  traits.max_group = 1024;
  traits.compute_capability = 80;
  traits.dot_product = true;
  return traits;
}

struct Cost {
  size_t steps = 0, launches = 0;
  uint64_t moved = 0, least = 0;
};

Cost cost_of(const std::string& name, const Graph& graph, int64_t batch, uint32_t units, bool half) {
  const StoredPlan stored = plan_of(graph, batch);
  const PlanRange range = whole_range(*stored.plan);
  const auto data = PlanData::make(*stored.plan, stored.constants, range, false);
  REQUIRE_MESSAGE(data.ok(), data.status().message());
  const gpu::Traits traits = device(units);
  gpu::BuildOptions options;
  options.device = &traits;
  options.half = half;
  options.measure_only = true;
  gpu::Program program;
  const gpu::Outcome built = gpu::Builder(data->plan(), options).build(&program);
  REQUIRE_MESSAGE(built.ok(), built.message);
  Cost cost;
  cost.steps = stored.plan->steps.size();
  cost.launches = program.launches.size();
  for (const gpu::Launch& launch : program.launches) cost.moved += launch.bytes_read + launch.bytes_written;
  for (const rt::Step& step : stored.plan->steps) cost.least += least_bytes(step, half);
  MESSAGE(name, ", batch ", batch, ", ", units, " units, ", half ? "float16" : "float32", ": ", cost.steps, " steps, ",
          cost.launches, " launches, ", static_cast<double>(cost.moved) / 1e6, " MB moved, ",
          static_cast<double>(cost.moved) / static_cast<double>(cost.least), " times the least");
  return cost;
}

}  // namespace

TEST_CASE("launches and memory traffic of networks on GPUs are held") {
  // Every step of a SparseNet or DenseNet is one launch; Winograd's algorithm, which ResNets have, takes three.
  for (const char* name : {"sparsenet-abc-v0", "sparsenet-abc-v1", "densenet-bc-100-12", "resnet20"}) {
    for (const uint32_t units : {8u, 108u}) {
      for (const int64_t batch : {1, 16}) {
        const Cost cost = cost_of(name, graph_of(name), batch, units, false);
        CHECK(cost.launches <= cost.steps * (std::string(name) == "resnet20" ? 2 : 1));
        CHECK(cost.moved <= 8 * cost.least);
      }
    }
    const Cost half = cost_of(name, graph_of(name), 1, 108, true);
    const Cost full = cost_of(name, graph_of(name), 1, 108, false);
    CHECK(half.moved < 0.75 * static_cast<double>(full.moved));  // sums that are split stay float32
  }
  for (const std::string& name : image_network_names()) {
    const Cost cost = cost_of(name, image_network(name, 1), 1, 108, false);
    CHECK(cost.launches <= 3 * cost.steps);
    CHECK(cost.moved <= 8 * cost.least);
  }
}

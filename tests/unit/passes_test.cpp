// Every pass keeps a graph's outputs, on random graphs and on whole networks, and fires on some of them. What each does
// to graphs made for it is in pass_rules_test.cpp.
#include <doctest/doctest.h>
#include <sparsenet/architecture.h>

#include <algorithm>
#include <functional>
#include <map>

#include "passes/pipeline.h"
#include "support/check_pass.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

void random_cases(const std::function<void(const Generator&, uint64_t)>& visit) {
  for (const std::vector<Generator>* list :
       {&layer_generators(), &data_generators(), &general_generators(), &network_generators()}) {
    for (const Generator& generator : *list) {
      // At least so many that every pass finds something to do.
      const int seeds = std::max(15, scaled_by_effort(list == &network_generators() ? 30 : 25));
      for (int s = 0; s < seeds; ++s) visit(generator, static_cast<uint64_t>(200 + s));
    }
  }
}

}  // namespace

TEST_CASE("each pass alone keeps the outputs of random graphs, and each fires on some") {
  std::map<std::string, int> fired;
  random_cases([&](const Generator& generator, uint64_t seed) {
    const Graph original = make_graph(generator, seed);
    const std::vector<Array> inputs = random_inputs(original, seed);
    const auto expected = evaluate(original, inputs);
    REQUIRE(expected.ok());
    for (const NamedPass& pass : kPasses) {
      Graph graph = original;
      bool changed = false;
      const std::string problem = check_pass(&graph, pass.run, inputs, *expected, &changed);
      CHECK_MESSAGE(problem.empty(), label(generator, seed), ": ", pass.name, " ", problem);
      fired[pass.name] += changed;
    }
  });
  // Passes that depend on earlier ones are checked to fire in the pipeline below.
  for (const std::string& pass :
       std::vector<std::string>{"convert_reduce_mean", "recognize_attention", "merge_pad", "convert_batch_norm",
                                "pool_before_conv", "fuse_residual", "fuse_activation", "remove_dead_nodes"}) {
    CHECK_MESSAGE(fired[pass] > 0, pass);
  }
}

TEST_CASE("the passes in order keep the outputs of random graphs, and each fires on some") {
  std::map<std::string, int> fired;
  random_cases([&](const Generator& generator, uint64_t seed) {
    Graph graph = make_graph(generator, seed);
    const std::vector<Array> inputs = random_inputs(graph, seed);
    const auto expected = evaluate(graph, inputs);
    REQUIRE(expected.ok());
    Graph piped = graph;
    for (const NamedPass& pass : kPasses) {
      bool changed = false;
      const std::string problem = check_pass(&graph, pass.run, inputs, *expected, &changed);
      CHECK_MESSAGE(problem.empty(), label(generator, seed), ": ", pass.name, " ", problem);
      fired[pass.name] += changed;
      if (!problem.empty()) return;
    }
    // The list above is that of the pipeline.
    REQUIRE(run_passes(&piped, PassLevel::kAll).ok());
    CHECK_MESSAGE(describe_graph(piped) == describe_graph(graph), label(generator, seed));
    Graph required = make_graph(generator, seed);
    bool changed = false;
    const std::string problem = check_pass(
        &required, [](Graph* g) { return run_passes(g, PassLevel::kRequired); }, inputs, *expected, &changed);
    CHECK_MESSAGE(problem.empty(), label(generator, seed), ": required passes ", problem);
  });
  for (const NamedPass& pass : kPasses) CHECK_MESSAGE(fired[pass.name] > 0, pass.name, " never fired");
}

TEST_CASE("a second run of the pipeline changes nothing") {
  random_cases([&](const Generator& generator, uint64_t seed) {
    if (seed % 5) return;
    Graph graph = make_graph(generator, seed);
    REQUIRE(run_passes(&graph, PassLevel::kAll).ok());
    Graph again = graph;
    REQUIRE(run_passes(&again, PassLevel::kAll).ok());
    CHECK_MESSAGE(again.nodes.size() <= graph.nodes.size(), label(generator, seed));
  });
}

TEST_CASE("whole networks of the family shrink to what the plan needs") {
  const auto passed = [](const std::string& text) {
    auto graph = build_graph(*parse_architecture(text), 3);
    REQUIRE_MESSAGE(graph.ok(), graph.status().message());
    return after_all(std::move(*graph));
  };
  SUBCASE("abc") {
    const Graph g = passed("sparsenet-abc-v0");
    CHECK(count(g, Op::kAttention) == 4 + 6 + 8);
    CHECK(count(g, Op::kBatchNorm) == 0);
    CHECK(count(g, Op::kSigmoid) == 0);
    CHECK(count(g, Op::kRelu) == 0);
    CHECK(count(g, Op::kAdd) == 0);
    CHECK(count(g, Op::kMul) == 0);
  }
  SUBCASE("squeeze and excite") {
    const Graph g = passed("sparsenet-abc-v0:attention=se");
    CHECK(count(g, Op::kAttention) == 4 + 6 + 8);
    CHECK(count(g, Op::kSigmoid) == 0);
  }
  SUBCASE("no pre-relu") {
    CHECK(count(passed("sparsenet-abc-v0:pre-relu=0"), Op::kAttention) == 18);
  }
  SUBCASE("basic") {
    const Graph g = passed("sparsenet-basic-v0");
    CHECK(count(g, Op::kBatchNorm) + count(g, Op::kRelu) == 0);
  }
  SUBCASE("resnet") {
    const Graph g = passed("resnet20");
    CHECK(count(g, Op::kBatchNorm) + count(g, Op::kAffine) == 0);
    CHECK(count(g, Op::kAdd) <= 2);  // only where the shortcut has other channels than the input
  }
  SUBCASE("densenet") {
    CHECK(count(passed("densenet-bc-16-6"), Op::kBatchNorm) == 0);
  }
}

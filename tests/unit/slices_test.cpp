// Batches that a session computes a few images at a time: the same results as all at once, and a refusal where images
// may depend on each other.
#include <doctest/doctest.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "support/check_session.h"
#include "support/graph_maker.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

SessionOptions options_for(const Graph& graph, int64_t images_at_once, int threads = 1) {
  SessionOptions options;
  options.backend = Backend::kPortable;
  options.threads = threads;
  options.batch = graph.shape(graph.inputs[0])[0];
  options.images_at_once = images_at_once;
  return options;
}

// The largest error among the outputs; the graph must be accepted.
double error_of(const Graph& graph, const std::vector<Array>& inputs, const std::vector<Array>& expected,
                const SessionOptions& options) {
  auto session = Session::create(graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  const auto outputs = run_session(*session, inputs);
  REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    worst = std::max(worst, relative_error(expected[i].data, (*outputs)[i]) / tolerance_of(*session));
  }
  return worst;
}

// Two inputs, a concatenation, a residual, an attention-like gate, a flattened head and a Softmax.
Graph network(int64_t batch) {
  Random random(5);
  GraphMaker g(random);
  const ValueId a = g.input({batch, 3, 10, 12}), b = g.input({batch, 5, 10, 12});
  const ValueId x = g.conv(g.concat({a, b}), 24, 3);
  const ValueId y = g.node(Op::kAdd, {g.conv(g.relu(x), 24, 3), x});
  const ValueId gate = g.node(Op::kSigmoid, {g.conv(g.global_pool(y), 24, 1)});
  const ValueId scaled = g.node(Op::kMul, {y, gate});
  const ValueId logits = g.head(g.pool(Op::kMaxPool, scaled, 2, 2), 7);
  return g.finish({g.node(Op::kSoftmax, {logits}, AxisAttrs{1}), scaled});
}

}  // namespace

TEST_CASE("slices of any size give the results of the whole batch") {
  const Graph graph = network(12);
  const std::vector<Array> inputs = random_inputs(graph, 3);
  const auto expected = evaluate(graph, inputs);
  REQUIRE_MESSAGE(expected.ok(), expected.status().message());
  for (const int64_t images : {12, 6, 4, 3, 2, 1, 0}) {
    for (const int threads : {1, 3}) {
      const double error = error_of(graph, inputs, *expected, options_for(graph, images, threads));
      CHECK_MESSAGE(error <= 1, images, " images, ", threads, " threads: ", error);
    }
  }
}

TEST_CASE("a sliced session has the shapes of its batch, less memory, and one result however it is run") {
  const Graph graph = network(8);
  const std::vector<Array> inputs = random_inputs(graph, 4);
  auto whole = Session::create(graph, options_for(graph, 8)), sliced = Session::create(graph, options_for(graph, 2));
  REQUIRE(whole.ok());
  REQUIRE(sliced.ok());
  CHECK(whole->images_at_once() == 8);
  CHECK(sliced->images_at_once() == 2);
  CHECK(sliced->inputs()[1].shape == Shape{8, 5, 10, 12});
  CHECK(sliced->outputs()[0].shape == Shape{8, 7});
  CHECK(sliced->memory().arena_bytes < whole->memory().arena_bytes);
  int64_t macs = 0, whole_macs = 0;
  for (const StepInfo& step : sliced->steps()) macs += step.macs;
  for (const StepInfo& step : whole->steps()) whole_macs += step.macs;
  CHECK(macs == whole_macs);
  const auto first = run_session(*sliced, inputs);
  REQUIRE(first.ok());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::vector<float> values(inputs[i].data.begin(), inputs[i].data.end());
    REQUIRE(sliced->set_input(i, values.data(), values.size()).ok());
  }
  REQUIRE(sliced->run_profiled().ok());
  std::vector<float> again((*first)[0].size());
  REQUIRE(sliced->get_output(0, again.data(), again.size()).ok());
  CHECK(again == (*first)[0]);

  // In memory that is given, of exactly the size that is told.
  SessionOptions options = options_for(graph, 2);
  std::vector<uint8_t> memory(sliced->memory().total_bytes + 128, 0xa5);
  const size_t skip = 64 - reinterpret_cast<uintptr_t>(memory.data()) % 64;
  options.memory = memory.data() + skip;
  options.memory_bytes = sliced->memory().total_bytes;
  auto placed = Session::create(graph, options);
  REQUIRE_MESSAGE(placed.ok(), placed.status().message());
  const auto outputs = run_session(*placed, inputs);
  REQUIRE(outputs.ok());
  CHECK((*outputs)[1] == (*first)[1]);
  CHECK(std::all_of(memory.begin(), memory.begin() + static_cast<std::ptrdiff_t>(skip),
                    [](uint8_t byte) { return byte == 0xa5; }));
  CHECK(std::all_of(memory.begin() + static_cast<std::ptrdiff_t>(skip + options.memory_bytes), memory.end(),
                    [](uint8_t byte) { return byte == 0xa5; }));
}

TEST_CASE("how a batch is cut, and the bits of its results, do not depend on the number of threads") {
  Random random(12);
  GraphMaker g(random);
  const ValueId x = g.conv(g.input({288, 3, 32, 32}), 32, 3, 2);
  const Graph graph = g.finish({g.head(g.relu(g.conv(x, 48, 3)), 10)});
  const std::vector<Array> inputs = random_inputs(graph, 13);
  std::vector<std::vector<float>> first;
  int64_t images = 0;
  for (const int threads : {1, 2, 3}) {
    auto session = Session::create(graph, options_for(graph, 0, threads));
    REQUIRE_MESSAGE(session.ok(), session.status().message());
    if (threads == 1) images = session->images_at_once();
    CHECK(session->images_at_once() == images);
    const auto outputs = run_session(*session, inputs);
    REQUIRE(outputs.ok());
    if (threads == 1) first = *outputs;
    CHECK(*outputs == first);
  }
  MESSAGE(images, " of 288 images at once");
}

TEST_CASE("images_at_once must divide the batch") {
  const Graph graph = network(6);
  for (const int64_t images : {-1, 4, 5, 7, 12}) {
    const auto session = Session::create(graph, options_for(graph, images));
    REQUIRE_FALSE(session.ok());
    CHECK(session.status().code() == StatusCode::kInvalidArgument);
    CHECK(session.status().message().find("divisor of the batch of 6") != std::string::npos);
  }
}

TEST_CASE("batches whose images depend on each other are not cut") {
  const auto check = [](const char* what, ValueId (*mix)(GraphMaker & g, ValueId x)) {
    Random random(9);
    GraphMaker g(random);
    const ValueId x = g.conv(g.input({4, 6, 5, 5}), 4, 3);
    const Graph graph = g.finish({mix(g, x)});
    const auto cut = Session::create(graph, options_for(graph, 2));
    REQUIRE_FALSE_MESSAGE(cut.ok(), what);
    CHECK_MESSAGE(cut.status().code() == StatusCode::kUnsupported, what, ": ", cut.status().message());
    CHECK_MESSAGE(cut.status().message().find("expected all 4 of this network's batch, found 2: ") != std::string::npos,
                  what, ": ", cut.status().message());
    const std::vector<Array> inputs = random_inputs(graph, 6);
    const auto expected = evaluate(graph, inputs);
    REQUIRE_MESSAGE(expected.ok(), what, ": ", expected.status().message());
    CHECK_MESSAGE(error_of(graph, inputs, *expected, options_for(graph, 0)) <= 1, what);
  };
  check("mean over the batch", [](GraphMaker& g, ValueId x) {
    return g.node(Op::kSub, {x, g.node(Op::kReduceMean, {x}, ReduceAttrs{{0}, true})});
  });
  check("Softmax over the batch", [](GraphMaker& g, ValueId x) { return g.node(Op::kSoftmax, {x}, AxisAttrs{0}); });
  check("batch and channels exchanged", [](GraphMaker& g, ValueId x) {
    return g.node(Op::kTranspose, {x}, TransposeAttrs{{1, 0, 2, 3}});
  });
  check("the batch reversed in a flattened array", [](GraphMaker& g, ValueId x) {
    const ValueId flat = g.node(Op::kReshape, {x}, ReshapeAttrs{{-1, 50}});
    return g.node(Op::kReshape, {g.node(Op::kTranspose, {flat}, TransposeAttrs{{1, 0}})}, ReshapeAttrs{{4, -1}});
  });
  check("images side by side", [](GraphMaker& g, ValueId x) {
    return g.node(Op::kSlice, {g.concat({x, x}, 0)}, SliceAttrs{{0}, {1}, {5}, {1}});
  });
}

TEST_CASE("random graphs: slices agree with the whole batch, or are refused") {
  int accepted = 0, refused = 0;
  std::vector<Generator> generators = layer_generators();
  for (const auto* more : {&data_generators(), &general_generators(), &network_generators()}) {
    generators.insert(generators.end(), more->begin(), more->end());
  }
  for (const Generator& generator : generators) {
    for (uint64_t seed = 1; seed <= 6; ++seed) {
      Graph graph = make_graph(generator, seed);
      if (graph.inputs.empty() || graph.shape(graph.inputs[0])[0] < 2) continue;
      const auto session = Session::create(graph, options_for(graph, 1));
      if (!session.ok()) {
        REQUIRE_MESSAGE(session.status().code() == StatusCode::kUnsupported, session.status().message());
        ++refused;
        continue;
      }
      ++accepted;
      const std::vector<Array> inputs = random_inputs(graph, seed);
      const auto expected = evaluate(graph, inputs);
      REQUIRE_MESSAGE(expected.ok(), expected.status().message());
      const double error = error_of(graph, inputs, *expected, options_for(graph, 1));
      CHECK_MESSAGE(error <= 1, label(generator, seed), ": ", error);
    }
  }
  MESSAGE(accepted, " accepted, ", refused, " refused");
  CHECK(accepted > 50);
}

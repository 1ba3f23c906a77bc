// The Session API: misuse gives a Status, sessions are independent, results do not depend on the number of threads.
#include <doctest/doctest.h>
#include <sparsenet/architecture.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <thread>

#include "support/check_session.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

Graph seeded_graph(const std::string& text, uint64_t seed = 1) {
  const auto arch = parse_architecture(text);
  REQUIRE_MESSAGE(arch.ok(), arch.status().message());
  auto graph = build_graph(*arch, seed);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  return std::move(*graph);
}

Graph small_network() {
  return make_graph(network_generators()[1], 4);
}  // a sparsenet

Session session_for(const Graph& graph, Backend backend = Backend::kPortable, int threads = 1) {
  SessionOptions options;
  options.backend = backend;
  options.threads = threads;
  options.batch = graph.shape(graph.inputs[0])[0];
  auto session = Session::create(graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  return std::move(*session);
}

std::vector<std::vector<float>> outputs_of(Session& session, const std::vector<Array>& inputs) {
  auto outputs = run_session(session, inputs);
  REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
  return std::move(*outputs);
}

bool same_bits(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size() || std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)) != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE("create refuses what makes no sense") {
  const Graph graph = small_network();
  SessionOptions options;
  options.threads = -1;
  CHECK(Session::create(graph, options).status().code() == StatusCode::kInvalidArgument);
  options.threads = 1;
  for (int64_t batch : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
    options.batch = batch;
    CHECK(Session::create(graph, options).status().code() == StatusCode::kInvalidArgument);
  }
  options.batch = 1;
  for (Backend backend : {Backend::kOpenCl, Backend::kCuda, Backend::kOneDnn}) {
    if (is_available(backend)) continue;
    options.backend = backend;
    const auto session = Session::create(graph, options);
    REQUIRE_FALSE(session.ok());
    CHECK(session.status().code() == StatusCode::kUnsupported);
    CHECK(session.status().message().find(text(backend)) != std::string::npos);
  }
  options.backend = static_cast<Backend>(99);
  CHECK_FALSE(Session::create(graph, options).ok());
}

TEST_CASE("create refuses graphs that infer_shapes refuses, with the same message") {
  Graph graph = small_network();
  graph.nodes[2].inputs[0] = 123456;
  Graph copy = graph;
  const Status expected = copy.infer_shapes();
  const auto session = Session::create(graph, {});
  REQUIRE_FALSE(session.ok());
  CHECK(session.status().code() == StatusCode::kInvalidModel);
  CHECK(session.status().message().find(expected.message()) != std::string::npos);
  CHECK_FALSE(Session::create(Graph{}, {}).ok());
}

TEST_CASE("create refuses inputs and weights that are not float32, naming them") {
  for (DataType type : {DataType::kInt32, DataType::kInt64, DataType::kUInt8, DataType::kInt8}) {
    Graph g;
    const ValueId x = g.add_input("pixels", {1, 4}, type);
    g.outputs = {g.add_node(Op::kRelu, "relu", {x})};
    const auto session = Session::create(g, {});
    REQUIRE_FALSE(session.ok());
    CHECK(session.status().message().find("pixels") != std::string::npos);
  }
  static const int32_t kBytes[16] = {};
  Graph g;
  const ValueId x = g.add_input("x", {1, 4});
  Tensor weight;
  weight.type = DataType::kInt8;
  weight.shape = {2, 4};
  weight.data = kBytes;
  g.outputs = {g.add_node(Op::kFullyConnected, "fc", {x, g.add_constant("weight", weight)}, FullyConnectedAttrs{})};
  const auto session = Session::create(g, {});
  REQUIRE_FALSE(session.ok());
  const std::string& message = session.status().message();
  CHECK((message.find("fc") != std::string::npos || message.find("weight") != std::string::npos));
}

TEST_CASE("a batch that no memory holds is refused, not crashed on") {
  const Graph graph = small_network();
  SessionOptions options;
  options.threads = 1;
  for (int64_t batch : {int64_t{1} << 28, int64_t{1} << 31, int64_t{1} << 40, std::numeric_limits<int64_t>::max()}) {
    options.batch = batch;
    const auto session = Session::create(graph, options);
    REQUIRE_FALSE(session.ok());
    const StatusCode code = session.status().code();
    CHECK((code == StatusCode::kOutOfMemory || code == StatusCode::kInvalidArgument ||
           code == StatusCode::kInvalidModel || code == StatusCode::kUnsupported));
  }
}

TEST_CASE("inputs and outputs are checked by index and count") {
  const Graph graph = small_network();
  for (Backend backend : cpu_backends()) {
    Session session = session_for(graph, backend);
    REQUIRE(session.inputs().size() == graph.inputs.size());
    REQUIRE(session.outputs().size() == graph.outputs.size());
    CHECK(session.inputs()[0].shape == graph.shape(graph.inputs[0]));
    CHECK(session.inputs()[0].name == graph.value(graph.inputs[0]).name);
    CHECK(session.outputs()[0].name == graph.value(graph.outputs[0]).name);
    const auto count = static_cast<size_t>(element_count(session.inputs()[0].shape));
    std::vector<float> data(count + 1, 0.5f);
    CHECK(session.set_input(0, data.data(), count).ok());
    CHECK(session.set_input(0, data.data(), count - 1).code() == StatusCode::kInvalidArgument);
    CHECK(session.set_input(0, data.data(), count + 1).code() == StatusCode::kInvalidArgument);
    CHECK(session.set_input(0, data.data(), 0).code() == StatusCode::kInvalidArgument);
    CHECK(session.set_input(1, data.data(), count).code() == StatusCode::kInvalidArgument);
    CHECK(session.set_input(std::numeric_limits<size_t>::max(), data.data(), count).code() ==
          StatusCode::kInvalidArgument);
    CHECK(session.set_input(0, static_cast<const float*>(nullptr), count).code() == StatusCode::kInvalidArgument);
    REQUIRE(session.run().ok());
    const auto results = static_cast<size_t>(element_count(session.outputs()[0].shape));
    std::vector<float> out(results + 1, 7.f);
    CHECK(session.get_output(0, out.data(), results).ok());
    CHECK(out[results] == 7.f);
    CHECK(session.get_output(0, out.data(), results + 1).code() == StatusCode::kInvalidArgument);
    CHECK(session.get_output(99, out.data(), results).code() == StatusCode::kInvalidArgument);
    CHECK(session.get_output(0, static_cast<float*>(nullptr), results).code() == StatusCode::kInvalidArgument);
  }
}

TEST_CASE("the batch option sets the batch, whatever the graph was made for") {
  for (uint64_t seed : {1u, 2u, 3u}) {
    const Graph original = make_graph(network_generators()[0], seed);
    Graph graph = original;
    for (int64_t batch : {int64_t{1}, int64_t{5}}) {
      REQUIRE(graph.set_batch(batch).ok());
      const std::vector<Array> inputs = random_inputs(graph, seed);
      const auto expected = evaluate(graph, inputs);
      REQUIRE(expected.ok());
      SessionOptions options;
      options.batch = batch;
      auto session = Session::create(original, options);
      REQUIRE_MESSAGE(session.ok(), session.status().message());
      CHECK(session->inputs()[0].shape[0] == batch);
      const auto outputs = outputs_of(*session, inputs);
      for (size_t i = 0; i < outputs.size(); ++i) {
        CHECK(relative_error((*expected)[i].data, outputs[i]) <= tolerance_of(*session));
      }
    }
  }
}

TEST_CASE("the same bits from 1, 2 and 3 threads, and from run to run") {
  for (Backend backend : cpu_backends()) {
    for (const Generator& generator : network_generators()) {
      for (uint64_t seed = 50; seed < 54; ++seed) {
        const Graph graph = make_graph(generator, seed);
        const std::vector<Array> inputs = random_inputs(graph, seed);
        Session one = session_for(graph, backend, 1);
        const auto expected = outputs_of(one, inputs);
        CHECK_MESSAGE(same_bits(expected, outputs_of(one, inputs)), label(generator, seed), " again on ",
                      text(backend));
        if (backend != Backend::kPortable && backend != Backend::kReference)
          continue;  // oneDNN may split sums by threads
        for (int threads = 2; threads <= 3; ++threads) {
          Session many = session_for(graph, backend, threads);
          CHECK_MESSAGE(same_bits(expected, outputs_of(many, inputs)), label(generator, seed), " on ", text(backend),
                        " with ", threads, " threads");
        }
      }
    }
  }
}

TEST_CASE("a run leaves nothing behind for the next one") {
  for (Backend backend : cpu_backends()) {
    for (const Generator& generator : network_generators()) {
      const Graph graph = make_graph(generator, 60);
      const std::vector<Array> first = random_inputs(graph, 1), second = random_inputs(graph, 2);
      Session session = session_for(graph, backend, 2);
      const auto expected = outputs_of(session, first);
      outputs_of(session, second);
      CHECK_MESSAGE(same_bits(expected, outputs_of(session, first)), generator.name, " on ", text(backend));
      std::vector<Array> poison = first;
      for (Array& array : poison) {
        for (double& v : array.data) v = std::numeric_limits<double>::quiet_NaN();
      }
      outputs_of(session, poison);
      CHECK_MESSAGE(same_bits(expected, outputs_of(session, first)), generator.name, " on ", text(backend),
                    " after a run on NaN");
    }
  }
}

TEST_CASE("sessions outlive graphs, move, and do not disturb each other") {
  for (Backend backend : cpu_backends()) {
    auto graph = std::make_unique<Graph>(small_network());
    const std::vector<Array> inputs = random_inputs(*graph, 3), others = random_inputs(*graph, 4);
    Session a = session_for(*graph, backend, 2), b = session_for(*graph, backend, 1);
    const auto expected = outputs_of(a, inputs);
    graph.reset();
    Session moved = std::move(a);
    CHECK(same_bits(expected, outputs_of(moved, inputs)));
    for (size_t i = 0; i < inputs.size(); ++i) {  // interleaved
      std::vector<float> values(inputs[i].data.begin(), inputs[i].data.end());
      REQUIRE(b.set_input(i, values.data(), values.size()).ok());
    }
    outputs_of(moved, others);
    REQUIRE(b.run().ok());
    std::vector<float> out(expected[0].size());
    REQUIRE(b.get_output(0, out.data(), out.size()).ok());
    Array reference(Shape{static_cast<int64_t>(out.size())});
    reference.data.assign(expected[0].begin(), expected[0].end());
    CHECK(relative_error(reference.data, out) < 1e-5);
    b = std::move(moved);
    CHECK(same_bits(expected, outputs_of(b, inputs)));
  }
}

TEST_CASE("a session lives in memory that it is given, writes nowhere else, and names what it needs") {
  for (Backend backend : cpu_backends()) {
    CAPTURE(text(backend));
    const Graph graph = small_network();
    const std::vector<Array> inputs = random_inputs(graph, 3);
    Session own = session_for(graph, backend, 2);
    const auto expected = outputs_of(own, inputs);
    const size_t bytes = own.memory().total_bytes;
    CHECK(bytes >= own.memory().arena_bytes + own.memory().scratch_bytes + own.memory().weights_bytes);

    std::vector<uint8_t> room(bytes + 192, 0xA5);
    uint8_t* const at = room.data() + 64 + (64 - reinterpret_cast<uintptr_t>(room.data()) % 64) % 64;
    SessionOptions options;
    options.backend = backend;
    options.threads = 2;
    Model model;
    model.graph = graph;
    const auto measured = Session::measure(model, options);
    REQUIRE_MESSAGE(measured.ok(), measured.status().message());
    CHECK(measured->total_bytes == bytes);
    CHECK(measured->arena_bytes == own.memory().arena_bytes);
    CHECK(measured->scratch_bytes == own.memory().scratch_bytes);

    options.memory = at;
    options.memory_bytes = bytes - 1;
    const auto refused = Session::create(graph, options);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.status().code() == StatusCode::kOutOfMemory);
    CHECK(refused.status().message().find(std::to_string(bytes) + " bytes") != std::string::npos);

    options.memory_bytes = bytes;
    {
      auto session = Session::create(graph, options);
      REQUIRE_MESSAGE(session.ok(), session.status().message());
      CHECK(session->memory().total_bytes == bytes);
      CHECK(same_bits(expected, outputs_of(*session, inputs)));
    }
    const auto untouched = [](uint8_t byte) { return byte == 0xA5; };
    CHECK(std::all_of(room.data(), at, untouched));
    CHECK(std::all_of(at + bytes, room.data() + room.size(), untouched));
    CHECK_FALSE(std::all_of(at, at + bytes, untouched));

    options.memory = at + 4;
    const auto odd = Session::create(graph, options);
    REQUIRE_FALSE(odd.ok());
    CHECK(odd.status().code() == StatusCode::kInvalidArgument);
  }
}

TEST_CASE("sessions run at the same time on different threads") {
  const Graph graph = small_network();
  const std::vector<Array> inputs = random_inputs(graph, 3);
  for (Backend backend : cpu_backends()) {
    Session first = session_for(graph, backend, 2);
    const auto expected = outputs_of(first, inputs);
    std::vector<std::thread> threads;
    std::vector<int> wrong(3, 0);
    for (size_t t = 0; t < wrong.size(); ++t) {
      threads.emplace_back([&, t] {
        SessionOptions options;
        options.backend = backend;
        options.threads = 2;
        options.batch = graph.shape(graph.inputs[0])[0];
        auto session = Session::create(graph, options);
        for (int i = 0; i < 10; ++i) {
          if (!session.ok()) {
            ++wrong[t];
            continue;
          }
          const auto outputs = run_session(*session, inputs);
          if (!outputs.ok() || !same_bits(expected, *outputs)) ++wrong[t];
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (int count : wrong) CHECK_MESSAGE(count == 0, text(backend));
  }
}

TEST_CASE("a profiled run gives the same result and a time for every step") {
  const Graph graph = seeded_graph("sparsenet-abc-v0");
  const std::vector<Array> inputs = random_inputs(graph, 3);
  for (Backend backend : cpu_backends()) {
    if (backend == Backend::kReference) continue;
    Session session = session_for(graph, backend, 2);
    const auto expected = outputs_of(session, inputs);
    std::vector<float> values(inputs[0].data.begin(), inputs[0].data.end());
    REQUIRE(session.set_input(0, values.data(), values.size()).ok());
    REQUIRE(session.run_profiled().ok());
    std::vector<float> out(expected[0].size());
    REQUIRE(session.get_output(0, out.data(), out.size()).ok());
    CHECK(same_bits(expected, {out}));
    int64_t macs = 0;
    for (const StepInfo& step : session.steps()) {
      CHECK(step.milliseconds >= 0);
      CHECK_FALSE(step.kernel.empty());
      CHECK_FALSE(step.op.empty());
      macs += step.macs;
    }
    CHECK(macs > 0);
  }
}

TEST_CASE("threads: 0 takes what the process may use, a number is kept") {
  const Graph graph = small_network();
  CHECK(usable_cpus() >= 1);
  CHECK(session_for(graph, Backend::kPortable, 0).threads() == usable_cpus());
  CHECK(session_for(graph, Backend::kPortable, 3).threads() == 3);
}

TEST_CASE("backends have names that parse back") {
  for (Backend backend :
       {Backend::kAuto, Backend::kPortable, Backend::kOneDnn, Backend::kOpenCl, Backend::kCuda, Backend::kReference}) {
    const auto parsed = parse_backend(name(backend));
    REQUIRE(parsed.ok());
    CHECK(*parsed == backend);
  }
  const auto unknown = parse_backend("abacus");
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.status().code() == StatusCode::kInvalidArgument);
  CHECK(unknown.status().message().find("abacus") != std::string::npos);
  CHECK_FALSE(parse_backend("").ok());
}

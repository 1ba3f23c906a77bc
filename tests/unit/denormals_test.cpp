// Numbers below the smallest normal one are treated as zero on every thread that computes and cost no extra time, and
// the threads' modes are restored afterwards; or IEEE 754 applies, if requested.
#include "runtime/denormals.h"

#include <doctest/doctest.h>
#include <sparsenet/architecture.h>
#include <sparsenet/deploy.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "support/device_helpers.h"
#include "support/every_thread.h"
#include "support/scratch_folder.h"
#include "support/skip.h"

#if defined(SPARSENET_HAVE_CONVERTER)
#include "converter/convert.h"
#include "converter/graph_writer.h"
#endif

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

constexpr float kTiny = 1e-41f;

// y = x, computed by a convolution with the identity matrix: large enough for every thread to get a part.
constexpr int64_t kChannels = 16, kSide = 64;
constexpr size_t kElements = static_cast<size_t>(kChannels * kSide * kSide);

Graph unit_graph() {
  Graph graph;
  const ValueId x = graph.add_input("x", {1, kChannels, kSide, kSide});
  std::vector<float> unit(static_cast<size_t>(kChannels * kChannels), 0.f);
  for (int64_t c = 0; c < kChannels; ++c) unit[static_cast<size_t>(c * kChannels + c)] = 1.f;
  const ValueId weight = graph.add_constant("weight", Tensor::from({kChannels, kChannels, 1, 1}, unit));
  graph.outputs = {graph.add_node(Op::kConv, "conv", {x, weight}, ConvAttrs{})};
  REQUIRE(graph.infer_shapes().ok());
  return graph;
}

// How many of the outputs are not zero.
size_t survivors(Session& session) {
  const std::vector<float> in(kElements, kTiny);
  std::vector<float> out(kElements, 1.f);
  REQUIRE(session.set_input(0, in.data(), in.size()).ok());
  REQUIRE(session.run().ok());
  REQUIRE(session.get_output(0, out.data(), out.size()).ok());
  return static_cast<size_t>(
      std::count_if(out.begin(), out.end(), [](float y) { return std::fpclassify(y) != FP_ZERO; }));
}

// Of the calling thread. (The other bits of its mode are flags that any computation may raise.)
uint32_t flush_bits() {
  return rt::float_mode() & rt::kFlushBits;
}

// Two threads, and whether a step has changed their modes.
struct Pool {
  static void parallel(void* self, int32_t chunks, void (*function)(void*, int32_t, int32_t), void* context) {
    auto& pool = *static_cast<Pool*>(self);
    std::thread threads[2];
    for (int32_t t = 0; t < 2; ++t) {
      threads[t] = std::thread([&pool, t, chunks, function, context] {
        const uint32_t mode = pool.ordinary | (t == 1 ? pool.extra : 0);
        rt::set_float_mode(mode);
        for (int32_t chunk = t; chunk < chunks; chunk += 2) function(context, chunk, t);
        pool.changed = pool.changed || flush_bits() != (mode & rt::kFlushBits);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  uint32_t ordinary = rt::float_mode(), extra = 0;
  std::atomic<bool> changed{false};
};

}  // namespace

TEST_CASE("denormals are zero on all threads of a session, and stay on request") {
  if (rt::kFlushBits == 0) return skip("denormals", "a CPU with a mode for them");
  const Graph graph = unit_graph();
  REQUIRE(flush_bits() == 0);
  for (const Backend backend : {Backend::kPortable, Backend::kReference, Backend::kOneDnn}) {
    if (!is_available(backend)) continue;
    for (const int threads : {1, 2, 4}) {
      SessionOptions options;
      options.backend = backend;
      options.threads = threads;
      auto flushing = Session::create(graph, options);
      options.flush_denormals = false;
      auto keeping = Session::create(graph, options);
      REQUIRE(flushing.ok());
      REQUIRE(keeping.ok());
      for (int round = 0; round < 3; ++round) {  // so that each also runs after the other
        const std::string what = std::string(name(backend)) + ", " + std::to_string(threads) + " threads";
        CHECK_MESSAGE(survivors(*flushing) == 0, what);
        CHECK(flush_bits() == 0);
#if !defined(__arm__)  // its NEON unit always flushes
        CHECK_MESSAGE(survivors(*keeping) == kElements, what);
#endif
        CHECK(flush_bits() == 0);
      }
    }
  }
}

TEST_CASE("the threads of a pool take denormals for zero where they are told to") {
  if (rt::kFlushBits == 0) return skip("denormals", "a CPU with a mode for them");
  EveryThread every;
  ThreadPool flushing(3, true), keeping(3);
  CHECK(every.meet(flushing, 3) == 3);
  CHECK(every.flushing == 2);  // the pool does not change the caller's mode
  CHECK(every.meet(keeping, 3) == 3);
  CHECK(every.flushing == 0);
}

TEST_CASE("denormals are zero on the threads of a hook, whose modes come back") {
  if (rt::kFlushBits == 0) return skip("denormals", "a CPU with a mode for them");
  const Graph graph = unit_graph();
  for (const uint32_t extra : {uint32_t{0}, rt::kFlushBits}) {
    Pool pool;
    pool.extra = extra;
    SessionOptions options;
    options.thread_hook = {2, Pool::parallel, &pool};
    auto session = Session::create(graph, options);
    REQUIRE(session.ok());
    CHECK(survivors(*session) == 0);
    CHECK_FALSE(pool.changed);
  }
}

TEST_CASE("a caller that flushes already goes on to do so") {
  if (rt::kFlushBits == 0) return skip("denormals", "a CPU with a mode for them");
  auto session = Session::create(unit_graph(), {});
  REQUIRE(session.ok());
  const uint32_t mode = rt::float_mode();
  rt::set_float_mode(mode | rt::kFlushBits);
  const std::vector<float> in(kElements, kTiny);
  const bool good = session->set_input(0, in.data(), in.size()).ok() && session->run().ok();
  const uint32_t after = rt::float_mode();
  rt::set_float_mode(mode);
  CHECK(good);
  CHECK((after & rt::kFlushBits) == rt::kFlushBits);
}

TEST_CASE("denormals are zero in the C API, and stay on request") {
  if (rt::kFlushBits == 0) return skip("denormals", "a CPU with a mode for them");
  Model model;
  model.graph = unit_graph();
  auto plan = make_stored_plan(model.graph, "portable-f32");
  REQUIRE(plan.ok());
  model.plans.push_back(std::move(*plan));
  const auto bytes = serialize_model(model);
  REQUIRE(bytes.ok());
  Room file(*bytes);
  const std::vector<float> in(kElements, kTiny);
  for (const bool with_threads : {false, true}) {
    for (const uint32_t keep : {0u, 1u}) {
      Pool pool;
      const sn_thread_hook threads{sizeof threads, 2, Pool::parallel, &pool};
      sn_options options{};
      options.struct_size = sizeof options;
      options.keep_denormals = keep;
      options.threads = with_threads ? &threads : nullptr;
      Room memory(needs_of(file, &options).memory_bytes);
      sn_session* session = nullptr;
      REQUIRE(sn_prepare(file.at(), file.bytes(), &options, memory.at(), memory.bytes(), &session, nullptr) == SN_OK);
      REQUIRE(sn_set_input(session, 0, in.data(), in.size()) == SN_OK);
      REQUIRE(sn_run(session) == SN_OK);
      std::vector<float> out(kElements);
      REQUIRE(sn_get_output(session, 0, out.data(), out.size()) == SN_OK);
      const auto zeros = std::count_if(out.begin(), out.end(), [](float y) { return std::fpclassify(y) == FP_ZERO; });
#if defined(__arm__)
      if (keep) continue;
#endif
      CHECK(zeros == (keep ? 0 : static_cast<int64_t>(kElements)));
      CHECK(flush_bits() == 0);
      CHECK_FALSE(pool.changed);
    }
  }
}

TEST_CASE("a network takes as long for denormal inputs as for others") {
  if (rt::kFlushBits == 0) return skip("denormals", "a CPU with a mode for them");
  auto graph = build_graph(*parse_architecture("resnet20"), 1);
  REQUIRE(graph.ok());
  for (const Backend backend : {Backend::kPortable, Backend::kOneDnn}) {
    if (!is_available(backend)) continue;
    SessionOptions options;
    options.backend = backend;
    options.threads = 1;
    auto session = Session::create(*graph, options);
    REQUIRE(session.ok());
    double seconds[2];
    for (const int tiny : {0, 1}) {
      const std::vector<float> in(3 * 32 * 32, tiny ? kTiny : 0.5f);
      seconds[tiny] = 1e9;
      for (int run = 0; run < 7; ++run) {
        REQUIRE(session->set_input(0, in.data(), in.size()).ok());
        const auto start = std::chrono::steady_clock::now();
        REQUIRE(session->run().ok());
        seconds[tiny] =
            std::min(seconds[tiny], std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      }
    }
    MESSAGE(std::string(name(backend)), ": ", seconds[1] / seconds[0], " times as long");
    CHECK(seconds[1] < 4 * seconds[0]);  // on CPUs that are slow for denormals it is 20 to 90 times without flushing
  }
}

#if defined(SPARSENET_HAVE_CONVERTER)
TEST_CASE("the converter writes no denormal weights") {
  Graph graph;
  const ValueId x = graph.add_input("x", {1, 4});
  const float smallest = 1.17549435e-38f;
  const ValueId clean = graph.add_constant("clean", Tensor::from({2, 4}, std::vector<float>(8, 6e-8f)));
  const ValueId tiny = graph.add_constant("tiny", Tensor::from({2}, {kTiny, -smallest}));
  const ValueId tinier = graph.add_constant("tinier", Tensor::from({2}, {-1e-45f, smallest / 2}));
  const ValueId y = graph.add_node(Op::kFullyConnected, "fc", {x, clean, tiny}, FullyConnectedAttrs{});
  graph.outputs = {graph.add_node(Op::kAdd, "add", {y, tinier})};
  REQUIRE(graph.infer_shapes().ok());
  const void* const shared = graph.value(clean).constant.data;
  std::string first;
  CHECK(converter::flush_denormals(&graph, &first) == 3);
  CHECK(first == "tiny");
  // 6e-8 is a denormal number of float16, and an ordinary one here.
  CHECK(graph.value(clean).constant.data == shared);
  const float* flushed = graph.value(tiny).constant.f32();
  CHECK((flushed[0] == 0.f && !std::signbit(flushed[0]) && flushed[1] == -smallest));
  flushed = graph.value(tinier).constant.f32();
  CHECK((flushed[0] == 0.f && std::signbit(flushed[0]) && flushed[1] == 0.f));
  CHECK(converter::flush_denormals(&graph, &first) == 0);
}

TEST_CASE("a conversion tells how many weights became zero") {
  Model model;
  model.graph = unit_graph();
  model.graph.values[1].constant = Tensor::filled(model.graph.values[1].shape, kTiny);
  auto plan = make_stored_plan(model.graph, "portable-f32");
  REQUIRE(plan.ok());
  model.plans.push_back(std::move(*plan));
  const ScratchFolder folder;
  converter::Options options;
  options.input = folder.file("tiny.snet");
  options.output = folder.file("zero.snet");
  REQUIRE(save_model(model, options.input).ok());
  converter::Report report;
  const Status status = converter::convert(options, &report);
  CHECK_MESSAGE(status.ok(), status.message());
  CHECK(report.flushed_weights == kChannels * kChannels);
  REQUIRE(report.notes.size() == 1);
  CHECK(report.notes[0].find("256 weights below") == 0);
  CHECK(report.notes[0].find("plans") != std::string::npos);
  auto written = load_model(options.output);
  REQUIRE(written.ok());
  CHECK(written->plans.empty());
  CHECK(written->graph.values[1].constant.f32()[0] == 0.f);
}
#endif

// Heap calls, counted and made to fail. This suite is a program of its own, since it replaces malloc and operator new.
//
// A run must not call the heap on the portable kernels; with oneDNN only its own argument maps may be made, as many in
// every run, and freed in it. And Session::create must survive the failure of any one of its allocations.
#include <doctest/doctest.h>
#include <sparsenet/architecture.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <cstdlib>

#include "support/check_session.h"
#include "support/heap_counter.h"
#include "support/random_graphs.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;
using namespace sparsenet::test::heap;

namespace {

Graph architecture(const std::string& text) {
  auto graph = build_graph(*parse_architecture(text), 1);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  return std::move(*graph);
}

Session session_for(const Graph& graph, Backend backend, int threads) {
  SessionOptions options;
  options.backend = backend;
  options.threads = threads;
  options.batch = graph.shape(graph.inputs[0])[0];
  auto session = Session::create(graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  return std::move(*session);
}

struct Buffers {
  std::vector<std::vector<float>> in, out;
  explicit Buffers(const Session& session) {
    for (const TensorInfo& info : session.inputs())
      in.emplace_back(static_cast<size_t>(element_count(info.shape)), 0.5f);
    for (const TensorInfo& info : session.outputs()) out.emplace_back(static_cast<size_t>(element_count(info.shape)));
  }
};

// A full use: set, run, get.
bool use(Session& session, Buffers& buffers) {
  bool good = true;
  for (size_t i = 0; i < buffers.in.size(); ++i) {
    good = session.set_input(i, buffers.in[i].data(), buffers.in[i].size()).ok() && good;
  }
  good = session.run().ok() && good;
  for (size_t i = 0; i < buffers.out.size(); ++i) {
    good = session.get_output(i, buffers.out[i].data(), buffers.out[i].size()).ok() && good;
  }
  return good;
}

struct Heap {
  int64_t calls, frees;
};

Heap count_runs(Session& session, Buffers& buffers, int runs) {
  calls = frees = 0;
  counting = true;
  bool good = true;
  for (int i = 0; i < runs; ++i) good = use(session, buffers) && good;
  counting = false;
  CHECK(good);
  return {calls, frees};
}

}  // namespace

TEST_CASE("the counters count") {
  calls = frees = 0;
  counting = true;
  int* volatile p = new int(3);
  delete p;
  void* volatile q = std::malloc(10);
  std::free(q);
  counting = false;
  CHECK(calls == (SPARSENET_OWN_MALLOC ? 2 : 1));
  CHECK(frees == calls);
}

TEST_CASE("1,000 runs on our own kernels make no heap call") {
  for (const Graph& graph : {make_graph(network_generators()[1], 4), architecture("sparsenet-abc-v0")}) {
    for (Backend backend : {Backend::kPortable, Backend::kReference}) {
      for (int threads : {1, 2}) {
        if (backend == Backend::kReference && graph.nodes.size() > 200) continue;  // slow, and the same code
        Session session = session_for(graph, backend, threads);
        Buffers buffers(session);
        REQUIRE(use(session, buffers));
        const Heap heap = count_runs(session, buffers, 1000);
        CHECK_MESSAGE(heap.calls == 0, text(backend), " with ", threads, " threads: ", heap.calls, " allocations");
        CHECK_MESSAGE(heap.frees == 0, text(backend), " with ", threads, " threads: ", heap.frees, " frees");
      }
    }
  }
}

TEST_CASE("no op's portable kernel calls the heap in a run") {
  for (const std::vector<Generator>* list : {&layer_generators(), &data_generators(), &network_generators()}) {
    for (const Generator& generator : *list) {
      for (uint64_t seed = 0; seed < 4; ++seed) {
        const Graph graph = make_graph(generator, seed);
        SessionOptions options;
        options.backend = Backend::kPortable;
        options.threads = 2;
        options.batch = graph.shape(graph.inputs[0])[0];
        auto session = Session::create(graph, options);
        if (!session.ok() && generator.may_refuse) continue;
        REQUIRE_MESSAGE(session.ok(), generator.name, ": ", session.status().message());
        Buffers buffers(*session);
        const Heap heap = count_runs(*session, buffers, 3);
        CHECK_MESSAGE(heap.calls + heap.frees == 0, generator.name, " seed ", seed, ": ", heap.calls, " allocations");
      }
    }
  }
}

TEST_CASE("1,000 runs with oneDNN: a constant number of heap calls, all freed within the run") {
  if (!is_available(Backend::kOneDnn)) return skip("oneDNN allocations", "the onednn backend");
  const Graph graph = architecture("sparsenet-abc-v0");
  for (Backend backend : {Backend::kOneDnn, Backend::kAuto}) {
    for (int threads : {1, 2}) {
      Session session = session_for(graph, backend, threads);
      Buffers buffers(session);
      for (int i = 0; i < 5; ++i) REQUIRE(use(session, buffers));
      const Heap once = count_runs(session, buffers, 1);
      const Heap many = count_runs(session, buffers, 1000);
      MESSAGE(text(backend), " with ", threads, " threads: ", once.calls, " allocations a run");
      CHECK(many.calls == 1000 * once.calls);
      CHECK(once.frees == once.calls);
      CHECK(many.frees == many.calls);
    }
  }
}

namespace {

// Fails the n-th allocation of `action`, for n = 0, 1, 2, ... until none fails. The action answers whether it succeeded
// or refused cleanly.
template <class Action>
int64_t fail_each(const std::string& what, Action action) {
  constexpr int64_t kLimit = 100000;
  for (int64_t n = 0; n < kLimit; ++n) {
    failed = false;
    fail_after = n;
    bool clean = false;
    try {
      clean = action();
    } catch (...) {
      fail_after = -1;
      FAIL_CHECK(what, ": an exception left the library when allocation ", n, " failed");
      return n;
    }
    fail_after = -1;
    CHECK_MESSAGE(clean, what, ": allocation ", n);
    if (!failed) return n;
  }
  return kLimit;
}

}  // namespace

TEST_CASE("Session::create survives the failure of each of its allocations") {
  for (const Graph& graph : {make_graph(network_generators()[1], 4), make_graph(network_generators()[3], 2)}) {
    for (int threads : {1, 3}) {  // 3: a thread pool that fails half-way
      StatusCode code = StatusCode::kOk;
      const int64_t allocations = fail_each("Session::create", [&] {
        SessionOptions options;
        options.backend = Backend::kPortable;
        options.threads = threads;
        auto session = Session::create(graph, options);
        fail_after = -1;
        code = session.ok() ? StatusCode::kOk : session.status().code();
        return code == StatusCode::kOk || code == StatusCode::kOutOfMemory;
      });
      CHECK(code == StatusCode::kOk);  // the last round had memory enough
      MESSAGE(threads, " threads: ", allocations, " allocations made to fail");
    }
  }
}

TEST_CASE("building, writing and loading a model survive the failure of each allocation") {
  const auto arch = parse_architecture("sparsenet-abc:blocks=2-2,k=4,path=2");
  REQUIRE(arch.ok());
  const auto acceptable = [](const Status& status) {
    fail_after = -1;
    return status.ok() || status.code() == StatusCode::kOutOfMemory;
  };
  const std::string text_of_arch = "sparsenet-abc:blocks=2-2,k=4", where = "memory";  // not the test's own to fail
  fail_each("parse_architecture", [&] { return acceptable(parse_architecture(text_of_arch).status()); });
  fail_each("build_graph", [&] { return acceptable(build_graph(*arch, 1).status()); });
  Model model;
  model.graph = std::move(*build_graph(*arch, 1));
  model.metadata.name = "allocation test";
  fail_each("serialize_model", [&] { return acceptable(serialize_model(model).status()); });
  const auto bytes = serialize_model(model);
  REQUIRE(bytes.ok());
  fail_each("load_model", [&] {
    const auto owner = std::shared_ptr<const void>();
    return acceptable(load_model(bytes->data(), bytes->size(), owner, where).status());
  });
}

// Counts heap calls. This suite is a separate program, because it replaces malloc and operator new.
//
// On the portable kernels, a run must not call the heap; with oneDNN it may only make oneDNN's own argument maps, the
// same number in every run, and must free them before it ends.
#include <doctest/doctest.h>
#include <sparsenet/architecture.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <cstdlib>

#include "support/check_session.h"
#include "support/heap_counter.h"
#include "support/random_graphs.h"
#include "support/random_integers.h"
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

// A complete use: set, run, get.
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
  for (const std::vector<Generator>* list :
       {&layer_generators(), &data_generators(), &general_generators(), &network_generators(), &integer_generators()}) {
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

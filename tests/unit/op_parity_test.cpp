// Every op on every backend, compared with the double-precision reference, on random shapes.
//
// Bound: max |difference| / max |expected| of an output is at most 2e-5, or 1e-4 if a kernel uses Winograd's algorithm.
// A failure prints generator, seed, backend and the whole graph. SPARSENET_ISA selects the instruction set before the
// run, SPARSENET_TEST_EFFORT scales the number of cases; SPARSENET_TEST_BACKEND=opencl runs all of it on a plugin
// instead, at 1e-4, or with SPARSENET_TEST_PRECISION=f16 at 2e-2.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "support/check_session.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

constexpr int kMaxReports = 2;  // per generator and backend; more would bury the others

std::set<std::string> kernels_seen;

void check_generator(const Generator& generator, int seeds) {
  const std::vector<Backend> backends = backends_under_test(generator.name, cpu_backends());
  if (backends.empty()) return;
  std::vector<int> failures(backends.size(), 0);
  for (int s = 0; s < seeds; ++s) {
    const auto seed = static_cast<uint64_t>(s);
    const Graph graph = make_graph(generator, seed);
    const std::vector<Array> inputs = random_inputs(graph, seed);
    const auto expected = evaluate(graph, inputs);
    REQUIRE_MESSAGE(expected.ok(), label(generator, seed), ": ", expected.status().message());
    for (size_t b = 0; b < backends.size(); ++b) {
      // Every number of threads for the first graphs, then one of them in turn; sometimes without passes.
      for (int threads = 1; threads <= 3; ++threads) {
        const bool plugin = is_plugin(backends[b]);
        if (plugin ? threads != 1 : s >= 2 && threads != 1 + (s + static_cast<int>(b)) % 3) continue;
        CheckOptions options;
        options.backend = backends[b];
        options.threads = threads;
        options.precision = precision_under_test();
        options.optimize = s % 4 != 3;
        options.may_refuse = generator.may_refuse;
        options.kernels = &kernels_seen;
        const std::string problem = check_session(graph, inputs, *expected, options);
        if (problem.empty()) continue;
        if (++failures[b] <= kMaxReports) FAIL_CHECK(label(generator, seed), " ", problem);
      }
    }
  }
  for (size_t b = 0; b < backends.size(); ++b) {
    if (failures[b] > kMaxReports) {
      FAIL_CHECK(generator.name, ": ", failures[b], " failures in all on ", text(backends[b]));
    }
  }
}

void check_all(const std::vector<Generator>& generators, int seeds) {
  kernels_seen.clear();
  for (const Generator& generator : generators) check_generator(generator, scaled_by_effort(seeds));
  if (kernels_seen.empty()) return;  // skipped
  std::string all;
  for (const std::string& kernel : kernels_seen) all += "\n  " + kernel;
  MESSAGE("kernels that ran:", all);
  // A plugin's device that is a CPU has one kernel for most convolutions.
  const bool one_for_most = std::getenv("SPARSENET_TEST_BACKEND") && !std::getenv("SPARSENET_OPENCL_AS_GPU");
  CHECK(static_cast<int>(kernels_seen.size()) >= std::min(one_for_most ? 3 : 5, scaled_by_effort(40)));
}

}  // namespace

TEST_CASE("the CPU backends are there") {
  CHECK(is_available(Backend::kReference));
  CHECK(is_available(Backend::kPortable));
  CHECK(is_available(Backend::kAuto));
}

TEST_CASE("layers equal the reference on every backend") {
  check_all(layer_generators(), 120);
}

TEST_CASE("data movement and arithmetic equal the reference on every backend") {
  check_all(data_generators(), 80);
}

TEST_CASE("ops of general networks equal the reference on every backend") {
  check_all(general_generators(), 80);
}

TEST_CASE("networks equal the reference on every backend") {
  check_all(network_generators(), 60);
}

TEST_CASE("wide layers equal the reference on every backend") {
  std::vector<Generator> generators = wide_generators();
  if (std::getenv("SPARSENET_TEST_BACKEND")) {
    generators.insert(generators.end(), winograd_generators().begin(), winograd_generators().end());
  }
  check_all(generators, 8);
}

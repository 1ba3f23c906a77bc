// Nodes that compute with integers, on every backend, byte by byte as graph.h defines them, on random shapes, scales,
// zero points and weights, and with inputs that make sums as large as they can become.
//
// A failure prints generator, seed, backend and the whole graph. SPARSENET_ISA selects the instruction set before the
// run, SPARSENET_TEST_EFFORT scales the number of cases; SPARSENET_TEST_BACKEND=opencl runs all of it on a plugin.
#include <doctest/doctest.h>
#include <sparsenet/session.h>

#include <cmath>
#include <set>

#include "support/check_session.h"
#include "support/describe.h"
#include "support/integer_oracle.h"
#include "support/random_integers.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

template <class T>
Status set(Session* session, size_t index, const Array& array) {
  const std::vector<T> values(array.data.begin(), array.data.end());
  return session->set_input(index, values.data(), values.size());
}

Status set_integers(Session* session, size_t index, const Array& array) {
  const DataType type = session->inputs()[index].type;
  if (type == DataType::kInt8) return set<int8_t>(session, index, array);
  return type == DataType::kUInt8 ? set<uint8_t>(session, index, array) : set<float>(session, index, array);
}

template <class T>
Result<Array> get(const Session& session, size_t index) {
  Array array(session.outputs()[index].shape);
  std::vector<T> values(array.size());
  SPARSENET_RETURN_IF_ERROR(session.get_output(index, values.data(), values.size()));
  array.data.assign(values.begin(), values.end());
  return array;
}

// Empty if all outputs are as expected, else the first difference.
std::string compare(Session* session, const std::vector<Array>& inputs, const Expected& expected) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Status status = set_integers(session, i, inputs[i]);
    if (!status.ok()) return status.message();
  }
  const Status status = session->run();
  if (!status.ok()) return status.message();
  if (session->outputs().size() != expected.outputs.size()) return "another number of outputs";
  for (size_t o = 0; o < expected.outputs.size(); ++o) {
    const bool integers = session->outputs()[o].type == DataType::kInt8;
    const auto found = integers ? get<int8_t>(*session, o) : get<float>(*session, o);
    if (!found.ok()) return found.status().message();
    const Array& wanted = expected.outputs[o];
    if (found->shape != wanted.shape) return "another shape";
    for (size_t k = 0; k < wanted.size(); ++k) {
      const bool same =
          expected.exact ? found->data[k] == wanted.data[k] : std::fabs(found->data[k] - wanted.data[k]) <= 1;
      if (same) continue;
      return "output " + std::to_string(o) + ", element " + std::to_string(k) + ": expected " +
             std::to_string(wanted.data[k]) + ", found " + std::to_string(found->data[k]);
    }
  }
  return "";
}

constexpr InputKind kKinds[] = {InputKind::kAny, InputKind::kLowest, InputKind::kHighest, InputKind::kEnds};

// The same session runs all kinds of inputs after each other, so none may leave anything behind.
std::string check(const Graph& graph, uint64_t seed, const SessionOptions& options,
                  const std::vector<Expected>& expected) {
  auto session = Session::create(graph, options);
  if (!session.ok()) return session.status().message();
  for (size_t k = 0; k < expected.size(); ++k) {
    const std::string problem = compare(&*session, integer_inputs(graph, seed, kKinds[k]), expected[k]);
    if (!problem.empty()) return "inputs of kind " + std::to_string(k) + ": " + problem;
  }
  return "";
}

void check_generator(const Generator& generator, int seeds) {
  const std::vector<Backend> backends =
      backends_under_test(generator.name, {Backend::kReference, Backend::kPortable, Backend::kAuto});
  if (backends.empty()) return;
  int failures = 0;
  std::set<double> seen;
  for (int s = 0; s < seeds; ++s) {
    const auto seed = static_cast<uint64_t>(s);
    Graph graph = make_graph(generator, seed);
    REQUIRE_MESSAGE(graph.infer_shapes().ok(), label(generator, seed), ": ", graph.infer_shapes().message());
    std::vector<Expected> expected;
    for (const InputKind kind : kKinds) {
      auto one = evaluate_integers(graph, integer_inputs(graph, seed, kind));
      REQUIRE_MESSAGE(one.ok(), label(generator, seed), ": ", one.status().message());
      for (const Array& output : one->outputs) seen.insert(output.data.begin(), output.data.end());
      expected.push_back(std::move(*one));
    }
    for (const Backend backend : backends) {
      for (int threads = 1; threads <= 2; ++threads) {
        // Both numbers of threads for the first graphs, then in turn; sometimes without passes.
        if (is_plugin(backend) ? threads > 1 : s >= 4 && threads != 1 + (s + static_cast<int>(backend)) % 2) continue;
        SessionOptions options;
        options.backend = backend;
        options.strict = true;
        options.device_check = DeviceCheck::kOff;
        options.threads = threads;
        options.optimize = s % 4 != 3;
        options.batch = graph.shape(graph.inputs[0])[0];
        const std::string problem = check(graph, seed, options, expected);
        if (problem.empty() || ++failures > 2) continue;
        FAIL_CHECK(label(generator, seed), " on ", text(backend), ": ", problem, "\n", describe_graph(graph));
      }
    }
  }
  // Scales are chosen so that results are not all at the ends of their range.
  if (seeds >= 60) CHECK_MESSAGE(seen.size() >= 150, generator.name, ": ", seen.size(), " different results");
  if (failures > 2) FAIL_CHECK(generator.name, ": ", failures, " failures in all");
}

}  // namespace

TEST_CASE("nodes of integers give the defined bytes on every backend") {
  for (const Generator& generator : integer_generators()) check_generator(generator, scaled_by_effort(60));
}

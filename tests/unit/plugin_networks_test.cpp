// Whole networks on the device of a plugin (SPARSENET_TEST_BACKEND, by default opencl), each against the portable
// kernels; and what a session on a device promises: the memory that was measured, the same bits in every run.
#include <doctest/doctest.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <cstdlib>

#include "support/architecture_graph.h"
#include "support/check_session.h"
#include "support/image_networks.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

// The backend under test; false, and said to be skipped, if it has no device.
bool find_backend(const char* test, SessionOptions* options) {
  const char* named = std::getenv("SPARSENET_TEST_BACKEND");
  const std::string wanted = named ? named : "opencl";
  options->strict = true;
  options->device_check = DeviceCheck::kOff;
  const Status read = parse_backend(wanted, options);
  if (read.ok() && is_available(options->backend)) return true;
  skip(test, "a device for backend " + wanted);
  return false;
}

std::vector<Array> inputs_of(const Graph& graph, int64_t batch) {
  Graph copy = graph;
  REQUIRE(copy.set_batch(batch).ok());
  return random_inputs(copy, 5);
}

std::vector<std::vector<float>> outputs_on(const SessionOptions& options, const Graph& graph,
                                           const std::vector<Array>& inputs) {
  auto session = Session::create(graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  auto outputs = run_session(*session, inputs);
  REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
  return std::move(*outputs);
}

void check_network(const std::string& name, const Graph& graph, SessionOptions options, int64_t batch,
                   double tolerance) {
  SessionOptions portable;
  portable.backend = Backend::kPortable;
  portable.batch = options.batch = batch;
  const std::vector<Array> inputs = inputs_of(graph, batch);
  const auto expected = outputs_on(portable, graph, inputs), found = outputs_on(options, graph, inputs);
  REQUIRE(found.size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = relative_error(std::vector<double>(expected[i].begin(), expected[i].end()), found[i]);
    CHECK_MESSAGE(error <= tolerance, name, ", batch ", batch, ": relative error ", error);
  }
}

// Float16 rounds what layers store, in networks of 20 to 100 layers: a bound on their outputs, not on single layers.
constexpr double kNetworkFloat16Tolerance = 3e-2;

}  // namespace

TEST_CASE("networks of small images equal the portable kernels") {
  SessionOptions options;
  if (!find_backend("networks of small images on a plugin", &options)) return;
  for (const char* name :
       {"sparsenet-abc-v0", "sparsenet-abc-v1", "sparsenet-abc-v2", "densenet-bc-40-12", "resnet8", "resnet20"}) {
    for (const int64_t batch : {1, 3}) check_network(name, graph_of(name), options, batch, kWinogradTolerance);
  }
}

TEST_CASE("networks with values stored as float16 are near the portable kernels") {
  SessionOptions options;
  if (!find_backend("float16 on a plugin", &options)) return;
  options.precision = Precision::kFloat16;
  for (const char* name : {"sparsenet-abc-v0", "resnet20"}) {
    check_network(name, graph_of(name), options, 2, kNetworkFloat16Tolerance);
  }
}

TEST_CASE("networks of integers give the same bytes as the CPU") {
  SessionOptions options;
  if (!find_backend("int8 networks on a plugin", &options)) return;
  const auto model = load_model(std::string(SPARSENET_SOURCE_DIR) + "/models/sparsenet-abc-v0-int8.snet");
  REQUIRE(model.ok());
  check_network("sparsenet-abc-v0-int8", model->graph, options, 1, 0);
  check_network("sparsenet-abc-v0-int8", model->graph, options, 2, 0);
}

TEST_CASE("a session takes the memory that was measured, and repeats its bits") {
  SessionOptions options;
  if (!find_backend("memory and repeats on a plugin", &options)) return;
  const auto model = load_model(std::string(SPARSENET_SOURCE_DIR) + "/models/sparsenet-abc-v0.snet");
  REQUIRE(model.ok());
  const auto measured = Session::measure(*model, options);
  REQUIRE_MESSAGE(measured.ok(), measured.status().message());
  auto session = Session::create(*model, options);
  REQUIRE(session.ok());
  CHECK(session->memory().arena_bytes == measured->arena_bytes);
  CHECK(session->memory().weights_bytes == measured->weights_bytes);
  CHECK(session->memory().scratch_bytes == measured->scratch_bytes);
  CHECK(session->memory().total_bytes == measured->arena_bytes + measured->weights_bytes + measured->scratch_bytes);
  const std::vector<Array> inputs = inputs_of(model->graph, 1);
  const auto first = run_session(*session, inputs);
  REQUIRE(first.ok());
  for (int i = 0; i < 3; ++i) CHECK(*run_session(*session, inputs) == *first);
  auto other = Session::create(*model, options);
  REQUIRE(other.ok());
  CHECK(*run_session(*other, inputs) == *first);

  // At most one launch for each step, and every step reads and writes memory.
  REQUIRE(session->run_profiled().ok());
  uint32_t launches = 0;
  for (const StepInfo& step : session->steps()) {
    launches += step.launches;
    CHECK_MESSAGE(step.bytes_read > 0, step.name);
    CHECK_MESSAGE(step.bytes_written > 0, step.name);
  }
  MESSAGE("sparsenet-abc-v0: ", session->steps().size(), " steps, ", launches, " launches");
  CHECK(launches > 0);
  CHECK(launches <= session->steps().size());
}

TEST_CASE("networks of images of 224 x 224 equal the portable kernels") {
  SessionOptions options;
  if (!find_backend("networks of large images on a plugin", &options)) return;
  for (const std::string& name : image_network_names()) {
    check_network(name, image_network(name, 1), options, 1, kWinogradTolerance);
  }
}

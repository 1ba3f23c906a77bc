// The ImageNet classifiers of support/image_networks.h are what they are called: parameters and multiply-accumulates
// are those that torchvision publishes, and the random weights keep values in a range in which errors can be seen.
#include "support/image_networks.h"

#include <doctest/doctest.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <utility>

#include "support/check_session.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

struct Known {
  int64_t parameters;
  int64_t million_macs;  // of an image of 224 x 224
};
const std::map<std::string, Known> kKnown{{"resnet18", {11689512, 1814}},
                                          {"mobilenet_v2", {3504872, 301}},
                                          {"squeezenet1_1", {1235496, 349}},
                                          {"efficientnet_b0", {5288548, 386}}};

std::vector<float> run_on(Backend backend, const Graph& graph, const std::vector<Array>& inputs) {
  SessionOptions options;
  options.backend = backend;
  options.batch = inputs[0].shape[0];
  auto session = Session::create(graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  auto outputs = run_session(*session, inputs);
  REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
  return std::move(outputs->front());
}

double spread(const std::vector<double>& values) {  // standard deviation
  double sum = 0, squares = 0;
  for (const double v : values) {
    sum += v;
    squares += v * v;
  }
  const auto count = static_cast<double>(values.size());
  return std::sqrt(std::max(0.0, squares / count - sum / count * (sum / count)));
}

}  // namespace

TEST_CASE("image networks have the parameters and multiply-accumulates of torchvision's") {
  CHECK(image_network_names().size() == kKnown.size());
  for (const std::string& name : image_network_names()) {
    CAPTURE(name);
    Graph graph = image_network(name, 1);
    const Status status = graph.infer_shapes();
    REQUIRE_MESSAGE(status.ok(), status.message());
    CHECK(graph.shape(graph.inputs[0]) == Shape{1, 3, 224, 224});
    CHECK(graph.shape(graph.outputs[0]) == Shape{1, 1000});
    const Known& known = kKnown.at(name);
    CHECK(graph.parameter_count() == known.parameters);
    CHECK((graph.macs_per_image() + 500000) / 1000000 == known.million_macs);
  }
}

TEST_CASE("image networks: scores of sensible size, the same on the reference and the portable kernels") {
  for (const std::string& name : image_network_names()) {
    CAPTURE(name);
    const Graph graph = image_network(name, 2, 64, 2);
    const std::vector<Array> inputs = random_inputs(graph, 3);
    const std::vector<float> scores = run_on(Backend::kReference, graph, inputs);
    const std::vector<double> expected(scores.begin(), scores.end());
    CHECK(relative_error(expected, run_on(Backend::kPortable, graph, inputs)) <= 1e-4);

    const auto half = static_cast<std::ptrdiff_t>(expected.size() / 2);
    const std::vector<double> first(expected.begin(), expected.begin() + half);
    std::vector<double> difference;  // between the two images
    for (size_t i = 0; i < first.size(); ++i) difference.push_back(expected[i + first.size()] - first[i]);
    MESSAGE(name, ": classes spread by ", spread(first), ", images by ", spread(difference));
    CHECK(spread(first) > 0.1);
    CHECK(spread(first) < 10);
    CHECK(spread(difference) > 0.1 * spread(first));
  }
}

TEST_CASE("image networks depend on their seed alone") {
  const auto weights = [](uint64_t seed, int64_t size, int64_t batch) {
    const Graph graph = image_network("squeezenet1_1", seed, size, batch);
    std::vector<float> all;
    for (const Value& value : graph.values) {
      if (value.is_constant)
        all.insert(all.end(), value.constant.f32(), value.constant.f32() + value.constant.elements());
    }
    return all;
  };
  CHECK(weights(1, 224, 1) == weights(1, 64, 3));
  CHECK(weights(1, 224, 1) != weights(2, 224, 1));
}

TEST_CASE("image networks: what cannot be made is refused with a reason") {
  CHECK_THROWS_WITH_AS(
      image_network("alexnet", 1),
      "image network 'alexnet': expected one of resnet18, mobilenet_v2, squeezenet1_1, efficientnet_b0",
      std::invalid_argument);
  for (const int64_t size : {-1, 0, 1, 4}) {
    CHECK(image_network("squeezenet1_1", 1, size).infer_shapes().code() == StatusCode::kInvalidModel);
  }
}

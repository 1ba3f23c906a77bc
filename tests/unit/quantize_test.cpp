// int8 networks from float32 ones. What is exact is tested exactly (equalised channels, which nodes become integers,
// the same bits from all kernels); how close the result is to the float network, by the ratio of signal to error.
#include <doctest/doctest.h>
#include <sparsenet/model.h>
#include <sparsenet/quantize.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <cmath>

#include "quantize/equalize.h"
#include "quantize/float_form.h"
#include "quantize/ranges.h"
#include "support/graph_maker.h"
#include "support/random.h"
#include "support/trained_integers.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

Values run(const Graph& graph, const float* image, size_t elements, Backend backend = Backend::kAuto,
           bool optimize = true) {
  SessionOptions options;
  options.backend = backend;
  options.optimize = optimize;
  options.threads = 2;
  auto session = Session::create(graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  REQUIRE(session->set_input(0, image, elements).ok());
  REQUIRE(session->run().ok());
  Values out(static_cast<size_t>(element_count(session->outputs()[0].shape)));
  REQUIRE(session->get_output(0, out.data(), out.size()).ok());
  return out;
}

double decibels(const Values& expected, const Values& found) {
  double signal = 0, error = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double d = static_cast<double>(found[i]) - static_cast<double>(expected[i]);
    signal += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
    error += d * d;
  }
  return 10 * std::log10(signal / std::max(error, 1e-30));
}

size_t count(const Graph& graph, Op op) {
  return static_cast<size_t>(
      std::count_if(graph.nodes.begin(), graph.nodes.end(), [op](const Node& n) { return n.op == op; }));
}

Model own_network() {
  auto model = load_model(SPARSENET_SOURCE_DIR "/models/sparsenet-abc-v0.snet");
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  return std::move(*model);
}

constexpr size_t kElements = 3 * 32 * 32;

// A residual network with channels of very different ranges in front of batch normalisation, and a gate.
Model small_network(uint64_t seed) {
  Random random(seed);
  GraphMaker g(random);
  const ValueId x = g.input({1, 3, 10, 10});
  const ValueId a = g.relu(g.conv(x, 12, 3));
  const ValueId b = g.conv(a, 12, 3);
  const ValueId sum = g.relu(g.node(Op::kAdd, {a, b}));
  const ValueId gate = g.node(Op::kSigmoid, {g.conv(g.node(Op::kGlobalAveragePool, {sum}), 12, 1)});
  const ValueId gated = g.node(Op::kMul, {sum, gate});
  const ValueId all = g.concat({a, gated, g.conv(gated, 5, 1)});
  const ValueId y = g.conv(g.relu(g.batch_norm(all)), 20, 3, 2);
  PoolAttrs pool;
  pool.kernel = pool.stride = {2, 2};
  Model model;
  model.graph = g.finish({g.fully_connected(g.flatten(g.node(Op::kMaxPool, {y}, pool)), 7)});
  return model;
}

}  // namespace

TEST_CASE("quantised: a SparseNet whole, close to float32, the same bits from all kernels") {
  const Model model = own_network();
  const Values images = random_images(3, 40, kElements);
  for (const RangeMethod method : {RangeMethod::kMinMax, RangeMethod::kPercentile, RangeMethod::kMse}) {
    QuantizeOptions options;
    options.method = method;
    QuantizeReport report;
    const auto result = quantize(model, images.data(), 32, options, &report);
    REQUIRE_MESSAGE(result.ok(), result.status().message());
    CHECK(report.float_nodes == 0);
    CHECK(report.kept_float.empty());
    CHECK(count(result->graph, Op::kQuantize) == 1);  // the input
    CHECK(count(result->graph, Op::kDequantize) == 1);
    for (size_t i = 32; i < 36; ++i) {
      const float* image = images.data() + i * kElements;
      const Values found = run(result->graph, image, kElements);
      CHECK_MESSAGE(decibels(run(model.graph, image, kElements), found) > 15, name(method), ", image ", i);
      CHECK(run(result->graph, image, kElements, Backend::kReference) == found);
    }
  }
}

TEST_CASE("quantised: residuals, gates, pooling and concatenations of other networks") {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const Model model = small_network(seed);
    const Values images = random_images(seed, 24, 300);
    const auto result = quantize(model, images.data(), 16, {});
    REQUIRE_MESSAGE(result.ok(), result.status().message());
    Values expected, found;
    for (size_t i = 16; i < 24; ++i) {
      const float* image = images.data() + i * 300;
      const Values real = run(model.graph, image, 300), integer = run(result->graph, image, 300);
      CHECK(run(result->graph, image, 300, Backend::kReference) == integer);
      expected.insert(expected.end(), real.begin(), real.end());
      found.insert(found.end(), integer.begin(), integer.end());
    }
    CHECK_MESSAGE(decibels(expected, found) > 20, "seed ", seed);
  }
}

TEST_CASE("quantised: files hold all of it") {
  const Model model = small_network(9);
  const Values images = random_images(9, 8, 300);
  const auto result = quantize(model, images.data(), 8, {});
  REQUIRE(result.ok());
  const auto bytes = serialize_model(*result);
  REQUIRE_MESSAGE(bytes.ok(), bytes.status().message());
  const auto read = load_model(bytes->data(), bytes->size(), nullptr, "model");
  REQUIRE_MESSAGE(read.ok(), read.status().message());
  CHECK(run(read->graph, images.data(), 300) == run(result->graph, images.data(), 300));
}

TEST_CASE("quantised: nodes that are asked for stay float32") {
  const Model model = small_network(4);
  const Values images = random_images(4, 9, 300);
  QuantizeOptions options;
  options.keep_float = {"Conv*"};
  QuantizeReport report;
  const auto result = quantize(model, images.data(), 8, options, &report);
  REQUIRE_MESSAGE(result.ok(), result.status().message());
  CHECK(report.kept_float.size() >= 5);
  for (const Node& node : result->graph.nodes) {
    if (node.name.compare(0, 4, "Conv") == 0 && node.op == Op::kConv)
      CHECK(result->graph.value(node.inputs[0]).type == DataType::kFloat32);
  }
  CHECK(decibels(run(model.graph, &images[2400], 300), run(result->graph, &images[2400], 300)) > 20);

  options.keep_float = {"no such node"};
  const auto refused = quantize(model, images.data(), 8, options);
  CHECK(refused.status().message().find("keep_float: no node is named 'no such node'") != std::string::npos);
}

TEST_CASE("quantised: the damage of each layer, the largest first") {
  Model model = small_network(6);
  const Values images = random_images(6, 12, 300);
  const auto quantizer = Quantizer::calibrate(model, images.data(), 8, {});
  REQUIRE_MESSAGE(quantizer.ok(), quantizer.status().message());
  int64_t called = 0;
  const auto layers = quantizer->damage(&images[2400], 4, [&](int64_t done, int64_t all) { called += done <= all; });
  REQUIRE_MESSAGE(layers.ok(), layers.status().message());
  CHECK(layers->size() == 6);
  CHECK(called == 6);
  for (size_t i = 0; i < layers->size(); ++i) {
    const LayerDamage& layer = (*layers)[i];
    CHECK_MESSAGE(layer.error > 0, layer.node);
    CHECK_MESSAGE(layer.error < 0.2, layer.node);
    CHECK_MESSAGE(layer.bytes_saved > 0, layer.node);
    if (i > 0) CHECK(layer.error <= (*layers)[i - 1].error);
  }
}

TEST_CASE("quantised: what cannot be is refused") {
  const Model model = small_network(2);
  Values images = random_images(2, 4, 300);
  CHECK(quantize(model, images.data(), 0, {}).status().code() == StatusCode::kInvalidArgument);
  const auto once = quantize(model, images.data(), 4, {});
  REQUIRE(once.ok());
  CHECK(quantize(*once, images.data(), 4, {}).status().message().find("integers already") != std::string::npos);
  images[301] = NAN;
  const Status status = quantize(model, images.data(), 4, {}).status();
  CHECK_MESSAGE(status.message().find("image 1: value") != std::string::npos, status.message());
  CHECK(parse_range_method("mad").status().message() == "method: expected minmax, percentile, kl or mse, found 'mad'");
}

TEST_CASE("quantised: residuals inside a convolution, and concatenations of concatenations") {
  Random random(12);
  GraphMaker g(random);
  const ValueId x = g.input({1, 3, 10, 10});
  const ValueId a = g.conv(x, 6, 3);
  ConvAttrs attrs;
  attrs.kernel = {3, 3};
  attrs.pads = {1, 1, 1, 1};
  attrs.activation = {Activation::Kind::kRelu, 0, 0};
  const ValueId sum = g.conv(a, 6, attrs, true, a);
  const ValueId inner = g.concat({a, sum});
  const ValueId outer = g.concat({inner, g.constant({1, 2, 10, 10}, 0, 1)});
  const ValueId y = g.conv(g.relu(g.batch_norm(outer)), 4, 1);
  Model model;
  model.graph = g.finish({g.fully_connected(g.flatten(g.node(Op::kGlobalAveragePool, {y})), 5)});
  const Values images = random_images(12, 24, 300);
  const auto result = quantize(model, images.data(), 16, {});
  REQUIRE_MESSAGE(result.ok(), result.status().message());
  Values expected, found;
  for (size_t i = 16; i < 24; ++i) {
    const Values real = run(model.graph, &images[i * 300], 300), integer = run(result->graph, &images[i * 300], 300);
    expected.insert(expected.end(), real.begin(), real.end());
    found.insert(found.end(), integer.begin(), integer.end());
  }
  CHECK(decibels(expected, found) > 20);
}

TEST_CASE("quantised: parameters that are not finite stay where they are; an output has one scale") {
  Model model = small_network(3);
  const Values images = random_images(3, 4, 300);
  Graph broken = model.graph;
  for (Node& node : broken.nodes) {
    if (node.op != Op::kFullyConnected) continue;
    Value& weight = broken.value(node.inputs[1]);
    Values values = to_float32(weight.constant);
    values[3] = INFINITY;
    weight.constant = Tensor::from(Shape(weight.shape), std::move(values));
  }
  Model with_infinity;
  with_infinity.graph = broken;
  const Status status = quantize(with_infinity, images.data(), 4, {}).status();
  CHECK_MESSAGE(status.message().find("expected finite numbers") != std::string::npos, status.message());

  const auto result = quantize(model, images.data(), 4, {});
  REQUIRE(result.ok());
  Graph graph = result->graph;
  for (const Node& node : result->graph.nodes) {
    if (node.op == Op::kConcat) graph.outputs = {node.outputs[0]};
  }
  REQUIRE(graph.infer_shapes().ok());
  const Status refused = Session::create(graph, {}).status();
  CHECK_MESSAGE(
      refused.message().find("expected one scale and zero point for an input or output, found 29") != std::string::npos,
      refused.message());
}

TEST_CASE("equalised channels compute the same, and have the same range") {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    Graph graph = seed == 3 ? own_network().graph : small_network(seed).graph;
    const size_t elements = seed == 3 ? kElements : 300;
    REQUIRE(make_float_form(&graph).ok());
    const Values images = random_images(seed, 4, static_cast<int64_t>(elements));
    const auto largest = measure_channels(graph, images.data(), 4, {});
    REQUIRE(largest.ok());
    Graph equalised = graph;
    REQUIRE(equalize_channels(&equalised, *largest).ok());
    CHECK(decibels(run(graph, images.data(), elements, Backend::kAuto, false),
                   run(equalised, images.data(), elements, Backend::kAuto, false)) > 90);
    const auto after = measure_channels(equalised, images.data(), 4, {});
    REQUIRE(after.ok());
    bool any = false;
    for (const Node& node : equalised.nodes) {
      const auto y = static_cast<size_t>(node.outputs[0]);
      if (node.op != Op::kConv) continue;
      for (size_t c = 0; c < (*after)[y].size(); ++c) {
        const float before = (*largest)[y][c], most = (*after)[y][c];
        if (std::abs(most - before) <= 1e-3f * before) continue;  // as it was
        any = true;
        CHECK(most <= 1.0001f);
      }
    }
    CHECK(any);
  }
}

TEST_CASE("ranges of a histogram leave out what is rare, and always hold 0") {
  Values values(100000);
  Random random(5);
  for (float& v : values) v = static_cast<float>(random.normal());
  values[7] = 100.f;
  Histogram histogram({-5.f, 100.f});
  histogram.add(values.data(), static_cast<int64_t>(values.size()));
  CHECK(histogram.choose(RangeMethod::kMinMax).high == 100.f);
  const Range percentile = histogram.choose(RangeMethod::kPercentile);
  CHECK(percentile.high > 3.f);
  CHECK(percentile.high < 6.f);
  CHECK(percentile.low < -3.f);
  CHECK(histogram.choose(RangeMethod::kMse).high < 95.f);

  const Quantization positive = quantization_for({0.f, 2.55f});
  CHECK(positive.zero_points[0] == -128);
  CHECK(positive.scales[0] == doctest::Approx(0.01));
  const Quantization both = quantization_for({-1.f, 1.55f});
  CHECK(both.zero_points[0] == -28);
  CHECK(quantization_for({0.f, 0.f}).scales[0] == 1.f);
}

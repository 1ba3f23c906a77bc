#include "support/trained_integers.h"

#include <doctest/doctest.h>
#include <sparsenet/quantize.h>

#include <algorithm>

#include "support/graph_maker.h"
#include "support/integer_maker.h"
#include "support/random.h"

namespace sparsenet::test {

Values random_images(uint64_t seed, int64_t count, int64_t elements) {
  Random random(seed ^ 0x51ab);
  Values images(static_cast<size_t>(count * elements));
  for (float& v : images) v = static_cast<float>(random.normal());
  return images;
}

Graph quantised(Graph graph, uint64_t seed, const std::vector<std::string>& keep_float) {
  Model model;
  model.graph = std::move(graph);
  REQUIRE(model.graph.set_batch(1).ok());
  const Values images = random_images(seed, 16, element_count(model.graph.shape(model.graph.inputs[0])));
  QuantizeOptions options;
  options.keep_float = keep_float;
  const auto result = quantize(model, images.data(), 16, options);
  REQUIRE_MESSAGE(result.ok(), result.status().message());
  return result->graph;
}

Graph float_network(uint64_t seed) {
  Random random(seed);
  GraphMaker g(random);
  const ValueId x = g.input({1, 3, 8, 8});
  const ValueId a = g.conv(x, 5, 3);
  const ValueId b = g.conv(g.relu(g.batch_norm(a)), 4, 3);
  const ValueId c = g.conv(g.relu(g.batch_norm(g.concat({a, b}))), 6, 1);
  const ValueId gate = g.node(Op::kSigmoid, {g.conv(g.global_pool(c), 6, 1)});
  const ValueId gated = g.node(Op::kMul, {c, gate});
  const ValueId all = g.pool(seed % 2 == 0 ? Op::kAveragePool : Op::kMaxPool, g.concat({a, b, gated}), 2, 2);
  const ValueId d = g.relu(g.conv(g.batch_norm(all), 8, 3));
  const ValueId e = g.relu(g.node(Op::kAdd, {d, g.conv(d, 8, 3, 1, seed % 3 == 0 ? 8 : 1)}));
  return g.finish({g.fully_connected(g.flatten(g.pool(Op::kAveragePool, e, 2, 2)), 5)});
}

Graph integer_network(uint64_t seed) {
  Random random(seed);
  IntegerMaker g(random);
  ConvAttrs same;
  same.kernel = {3, 3};
  same.pads = {1, 1, 1, 1};
  const ValueId in = g.input({1, 3, 6, 6}, g.quantization(0.02));
  ValueId x = g.layer(in, {6, 3, 3, 3}, same);
  const Op function = random.chance(0.5) ? Op::kTanh : Op::kHardSwish;
  // TensorFlow Lite's Tanh has one scale.
  const bool fixed = function == Op::kTanh && g.rounding == Rounding::kDouble;
  x = g.node(function, {x}, NoAttrs{}, fixed ? Quantization{{1.f / 128}, {0}, 0} : g.quantization(0.01));
  ConvAttrs each = same;
  each.groups = 6;
  ValueId y = g.layer(x, {6, 1, 3, 3}, each);
  x = g.node(Op::kAdd, {x, y}, NoAttrs{}, g.for_sums(std::max(g.scale(x), g.scale(y)), 300));
  x = g.node(Op::kClip, {x}, ClipAttrs{-1, 3}, g.quantization(3. / 200));
  PadAttrs pad;
  pad.before = {0, 0, 1, 0};
  pad.after = {0, 0, 1, 0};
  x = g.move(Op::kPad, {x}, pad);
  PoolAttrs pool;
  pool.kernel = pool.stride = {2, 2};
  x = g.move(random.chance(0.5) ? Op::kMaxPool : Op::kAveragePool, {x}, pool);
  x = g.node(Op::kQuantize, {x}, NoAttrs{}, g.for_sums(g.scale(x), 100));
  if (random.chance(0.5)) x = g.node(Op::kGlobalAveragePool, {x}, NoAttrs{}, g.for_sums(g.scale(x), 60));
  x = g.move(Op::kReshape, {x}, ReshapeAttrs{{0, -1}});
  x = g.layer(x, {4, g.graph.shape(x)[1]});
  if (random.chance(0.3)) x = g.node(Op::kSoftmax, {x}, AxisAttrs{1}, {{1.f / 256}, {-128}, 0});
  return g.finish({x});
}

Graph network_of(uint64_t seed) {
  return seed % 2 == 0 ? quantised(float_network(seed), seed) : integer_network(seed);
}

std::vector<int32_t> random_labels(uint64_t seed, int64_t count, int64_t classes) {
  Random random(seed ^ 0x1abe1);
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < count; ++i) labels.push_back(random.integer(0, static_cast<int>(classes) - 1));
  return labels;
}

Values run(const Graph& graph, const Values& images, int64_t batch, Backend backend) {
  SessionOptions options;
  options.batch = batch;
  options.backend = backend;
  options.threads = 1;
  auto session = Session::create(graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  REQUIRE(session->set_input(0, images.data(), images.size()).ok());
  REQUIRE(session->run().ok());
  Values out(static_cast<size_t>(element_count(session->outputs()[0].shape)));
  REQUIRE(session->get_output(0, out.data(), out.size()).ok());
  return out;
}

}  // namespace sparsenet::test

// The double-precision reference itself, against values calculated by hand: every other suite relies on it.
#include "support/reference.h"

#include <doctest/doctest.h>

#include <cmath>

#include "support/describe.h"
#include "support/random_graphs.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

Array array(Shape shape, std::vector<double> data) {
  Array a(std::move(shape));
  REQUIRE(a.size() == data.size());
  a.data = std::move(data);
  return a;
}

std::vector<double> run(const Graph& graph, const std::vector<Array>& inputs) {
  const auto result = evaluate(graph, inputs);
  REQUIRE_MESSAGE(result.ok(), result.status().message());
  return (*result)[0].data;
}

void check_close(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) CHECK(a[i] == doctest::Approx(b[i]).epsilon(1e-9));
}

}  // namespace

TEST_CASE("Conv: cross-correlation with asymmetric padding, stride, residual and activation") {
  Graph g;
  const ValueId x = g.add_input("x", {1, 1, 3, 3});
  const ValueId r = g.add_input("r", {1, 1, 2, 2});
  const ValueId w = g.add_constant("w", Tensor::from({1, 1, 2, 2}, {1, 2, 3, 4}));
  const ValueId b = g.add_constant("b", Tensor::from({1}, {-20}));
  ConvAttrs a;
  a.kernel = {2, 2};
  a.stride = {2, 2};
  a.pads = {1, 0, 0, 1};
  a.activation = {Activation::Kind::kRelu, 0, 0};
  g.outputs = {g.add_node(Op::kConv, "conv", {x, w, b, r}, a)};
  // padded rows: 0 0 0 0 / 1 2 3 0 / 4 5 6 0 / 7 8 9 0
  check_close(run(g, {array({1, 1, 3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9}), array({1, 1, 2, 2}, {10, 12, 0, 100})}),
              {1, 1, 4 + 10 + 21 + 32 - 20, 6 + 27 - 20 + 100});
}

TEST_CASE("Conv: groups and dilation") {
  Graph g;
  const ValueId x = g.add_input("x", {1, 2, 1, 3});
  const ValueId w = g.add_constant("w", Tensor::from({2, 1, 1, 2}, {1, 10, 2, 20}));
  ConvAttrs a;
  a.kernel = {1, 2};
  a.dilation = {1, 2};
  a.groups = 2;
  g.outputs = {g.add_node(Op::kConv, "conv", {x, w}, a)};
  check_close(run(g, {array({1, 2, 1, 3}, {1, 2, 3, 4, 5, 6})}), {1 + 30, 8 + 120});
}

TEST_CASE("pools: padding never wins, and counts only where asked") {
  PoolAttrs a;
  a.kernel = {1, 3};
  a.stride = {1, 2};
  a.pads = {0, 1, 0, 1};
  const Array x = array({1, 1, 1, 3}, {-1, -2, -6});
  const auto pooled = [&](Op op) {
    Graph g;
    g.outputs = {g.add_node(op, "pool", {g.add_input("x", {1, 1, 1, 3})}, a)};
    return run(g, {x});
  };
  check_close(pooled(Op::kMaxPool), {-1, -2});
  check_close(pooled(Op::kAveragePool), {-1.5, -4});
  a.count_include_pad = true;
  check_close(pooled(Op::kAveragePool), {-1, -8.0 / 3});
  a.pads = {0, 0, 0, 0};
  a.kernel = {1, 2};
  a.ceil_mode = true;  // the second window extends beyond the edge: one pixel, and no padding to count
  check_close(pooled(Op::kAveragePool), {-1.5, -6});
}

TEST_CASE("BatchNorm, Softmax, FullyConnected") {
  Graph g;
  const ValueId x = g.add_input("x", {1, 2});
  const ValueId two = g.add_constant("two", Tensor::from({2}, {2, 3}));
  const ValueId one = g.add_constant("one", Tensor::from({2}, {1, -1}));
  const ValueId variance = g.add_constant("variance", Tensor::from({2}, {3, 15}));
  const ValueId n = g.add_node(Op::kBatchNorm, "bn", {x, two, one, one, variance}, BatchNormAttrs{1});
  const ValueId w = g.add_constant("w", Tensor::from({3, 2}, {1, 0, 0, 1, 1, 1}));
  const ValueId y = g.add_node(Op::kFullyConnected, "fc", {n, w}, FullyConnectedAttrs{});
  g.outputs = {g.add_node(Op::kSoftmax, "softmax", {y}, AxisAttrs{1})};
  // bn: (5-1)/2*2+1 = 5; (7+1)/4*3-1 = 5
  const double e5 = std::exp(5.0), e10 = std::exp(10.0), sum = 2 * e5 + e10;
  check_close(run(g, {array({1, 2}, {5, 7})}), {e5 / sum, e5 / sum, e10 / sum});
}

TEST_CASE("data movement") {
  const Array x = array({1, 2, 1, 3}, {1, 2, 3, 4, 5, 6});
  const auto with = [&](Op op, Attrs attrs) {
    Graph g;
    g.outputs = {g.add_node(op, "op", {g.add_input("x", {1, 2, 1, 3})}, std::move(attrs))};
    return run(g, {x});
  };
  check_close(with(Op::kTranspose, TransposeAttrs{{0, 3, 2, 1}}), {1, 4, 2, 5, 3, 6});
  check_close(with(Op::kSlice, SliceAttrs{{3, 1}, {0, 1}, {3, 2}, {2, 1}}), {4, 6});
  check_close(with(Op::kPad, PadAttrs{{0, 0, 0, 1}, {0, 1, 0, 0}, 9}), {9, 1, 2, 3, 9, 4, 5, 6, 9, 9, 9, 9});
  check_close(with(Op::kReduceMean, ReduceAttrs{{1}, false}), {2.5, 3.5, 4.5});
  check_close(with(Op::kReshape, ReshapeAttrs{{0, -1}}), {1, 2, 3, 4, 5, 6});
  check_close(with(Op::kGlobalAveragePool, NoAttrs{}), {2, 5});

  Graph g;
  const ValueId in = g.add_input("x", {1, 2, 1, 3});
  const std::vector<ValueId> parts = g.add_node_multi(Op::kSplit, "split", {in}, SplitAttrs{3, {1, 2}}, {"a", "b"});
  g.outputs = {g.add_node(Op::kConcat, "concat", {parts[1], parts[0]}, AxisAttrs{3})};
  check_close(run(g, {x}), {2, 3, 1, 5, 6, 4});

  Graph b;
  const ValueId gate = b.add_input("gate", {1, 2, 1, 1});
  const ValueId plane = b.add_input("plane", {1, 1, 1, 3});
  b.outputs = {b.add_node(Op::kSub, "sub", {gate, plane})};
  check_close(run(b, {array({1, 2, 1, 1}, {10, 20}), array({1, 1, 1, 3}, {1, 2, 3})}), {9, 8, 7, 19, 18, 17});
}

// The two fused ops created by passes must mean the same as the primitive nodes that they replace.
TEST_CASE("Affine and Attention equal their spelled-out forms") {
  Random random(3);
  const int64_t c = 5;
  GraphMaker g(random);
  const ValueId h = g.input({2, c, 3, 4});
  const auto row = [&](int64_t n) { return g.constant({n}, 0.5, 0.7); };
  const ValueId s1 = row(c), t1 = row(c), b1 = row(c), s2 = row(2 * c), t2 = row(2 * c), b2 = row(c);
  const ValueId w1 = g.constant({c, c}, 0, 0.5), w2 = g.constant({c, 2 * c}, 0, 0.5);
  const ValueId fused = g.node(Op::kAttention, {h, s1, t1, w1, b1, s2, t2, w2, b2}, AttentionAttrs{});

  const auto affine_relu = [&](ValueId v, ValueId scale, ValueId shift) {
    return g.relu(g.node(Op::kAdd, {g.node(Op::kMul, {v, scale}), shift}));
  };
  const ValueId pooled = g.flatten(g.global_pool(h));
  const ValueId e = g.node(Op::kFullyConnected, {affine_relu(pooled, s1, t1), w1, b1}, FullyConnectedAttrs{});
  const ValueId joined = g.concat({e, pooled});
  const ValueId z = g.node(Op::kFullyConnected, {affine_relu(joined, s2, t2), w2, b2}, FullyConnectedAttrs{});
  const ValueId f = g.node(Op::kReshape, {g.node(Op::kSigmoid, {z})}, ReshapeAttrs{{0, 0, 1, 1}});
  const ValueId spelled = g.node(Op::kAdd, {h, g.node(Op::kMul, {h, f})});

  const ValueId scale = row(c), shift = row(c);
  const ValueId affine = g.node(Op::kAffine, {h, scale, shift}, AffineAttrs{{Activation::Kind::kTanh, 0, 0}});
  const ValueId channel_scale = g.node(Op::kReshape, {scale}, ReshapeAttrs{{c, 1, 1}});
  const ValueId channel_shift = g.node(Op::kReshape, {shift}, ReshapeAttrs{{c, 1, 1}});
  const ValueId affine_spelled =
      g.node(Op::kTanh, {g.node(Op::kAdd, {g.node(Op::kMul, {h, channel_scale}), channel_shift})});
  const Graph graph = g.finish({fused, spelled, affine, affine_spelled});
  const auto result = evaluate(graph, random_inputs(graph, 9));
  REQUIRE_MESSAGE(result.ok(), result.status().message());
  check_close((*result)[0].data, (*result)[1].data);
  check_close((*result)[2].data, (*result)[3].data);
}

TEST_CASE("every generator makes legal graphs with finite values of sane size") {
  for (const std::vector<Generator>* list :
       {&layer_generators(), &data_generators(), &general_generators(), &network_generators()}) {
    for (const Generator& generator : *list) {
      for (uint64_t seed = 0; seed < 20; ++seed) {
        Graph graph = make_graph(generator, seed);
        const std::string what = generator.name + " seed " + std::to_string(seed);
        const Status status = graph.infer_shapes();
        REQUIRE_MESSAGE(status.ok(), what, ": ", status.message(), "\n", describe_graph(graph));
        if (seed >= 4) continue;
        const auto result = evaluate(graph, random_inputs(graph, seed));
        REQUIRE_MESSAGE(result.ok(), what, ": ", result.status().message());
        for (const Array& output : *result) {
          double largest = 0;
          for (double v : output.data) largest = std::isfinite(v) ? std::max(largest, std::abs(v)) : INFINITY;
          CHECK_MESSAGE(largest < 1e4, what, "\n", describe_graph(graph));
        }
      }
    }
  }
}

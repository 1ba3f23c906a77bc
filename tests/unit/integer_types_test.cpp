// What graphs of integers may not hold: each refusal names the node, what was expected and what was found.
#include <doctest/doctest.h>
#include <sparsenet/session.h>

#include <functional>

#include "support/integer_maker.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

struct Layers {
  Graph graph;
  ValueId x, weight, bias, conv, sum;  // values
  Node& node(size_t i) { return graph.nodes[i]; }
};

// conv of x, then conv + conv, then whatever a test adds.
Layers layers() {
  Layers l;
  Graph& g = l.graph;
  const auto integers = [&](ValueId id, Quantization q) {
    g.value(id).type = DataType::kInt8;
    g.value(id).quantization = std::move(q);
    return id;
  };
  l.x = integers(g.add_input("x", {1, 2, 3, 3}, DataType::kInt8), {{0.5f}, {1}, 0});
  l.weight = g.add_constant("w", integer_constant<int8_t>({2, 2, 1, 1}, {1, 2, 3, 4}));
  integers(l.weight, {{0.5f, 0.25f}, {0, 0}, 0});
  l.bias = g.add_constant("b", integer_constant<int32_t>({2}, {5, 6}));
  l.conv = integers(g.add_node(Op::kConv, "conv", {l.x, l.weight, l.bias}, ConvAttrs{}, "y"), {{0.5f}, {2}, 0});
  l.sum = integers(g.add_node(Op::kAdd, "sum", {l.conv, l.conv}, NoAttrs{}, "s"), {{1.f}, {3}, 0});
  g.outputs = {l.sum};
  return l;
}

ValueId append(Layers* l, Op op, Attrs attrs = NoAttrs{}) {
  Graph& g = l->graph;
  const ValueId y = g.add_node(op, "last", {l->sum}, std::move(attrs), "z");
  g.value(y).type = DataType::kInt8;
  g.value(y).quantization = g.value(l->sum).quantization;
  g.outputs = {y};
  return y;
}

std::string refusal(const std::function<void(Layers&)>& change) {
  Layers l = layers();
  change(l);
  const auto session = Session::create(l.graph, {});
  if (session.ok()) return "accepted";
  CHECK(session.status().code() == StatusCode::kUnsupported);
  return session.status().message();
}

void make_float(Value* value) {
  value->type = DataType::kFloat32;
  value->quantization = {};
}

constexpr uint8_t kBytes[16] = {};

}  // namespace

TEST_CASE("integers: what is as it should be is accepted") {
  CHECK(refusal([](Layers&) {}) == "accepted");
  CHECK(refusal([](Layers& l) { l.node(0).inputs.pop_back(); }) == "accepted");
  CHECK(refusal([](Layers& l) { append(&l, Op::kIdentity); }) == "accepted");
  CHECK(refusal([](Layers& l) { l.graph.value(l.weight).quantization = {{0.5f}, {0}, 0}; }) == "accepted");
}

TEST_CASE("integers: types are checked by node") {
  CHECK(refusal([](Layers& l) { make_float(&l.graph.value(l.conv)); }) ==
        "Conv 'conv': output: expected int8, found 'y' of float32");
  CHECK(refusal([](Layers& l) { make_float(&l.graph.value(l.x)); }) ==
        "Conv 'conv': input: expected int8, found 'x' of float32");
  CHECK(refusal([](Layers& l) { l.graph.value(l.x).type = DataType::kUInt8; }) ==
        "Conv 'conv': input: expected int8, found 'x' of uint8");
  CHECK(refusal([](Layers& l) { l.graph.value(l.x).type = DataType::kInt32; }) ==
        "value 'x': expected float32 or int8, found int32, which this version does not compute with");
  CHECK(refusal([](Layers& l) {
          l.graph.value(l.x).type = DataType::kUInt8;
          l.graph.value(l.x).quantization = {};
        }) == "value 'x': expected float32 or int8, found uint8, which this version does not compute with");
  CHECK(refusal([](Layers& l) { make_float(&l.graph.value(l.sum)); }) ==
        "Add 'sum': output: expected int8, found 's' of float32");
  CHECK(refusal([](Layers& l) { append(&l, Op::kGelu); }) ==
        "Gelu 'last': this op computes with float32 only, found 's' of int8");
  CHECK(refusal([](Layers& l) {
          append(&l, Op::kReduceMean, ReduceAttrs{{2, 3}, true});
        }) == "ReduceMean 'last': this op computes with float32 only, found 's' of int8");
  CHECK(refusal([](Layers& l) { append(&l, Op::kDequantize); }) ==
        "Dequantize 'last': output: expected float32, found 'z' of int8");
  CHECK(refusal([](Layers& l) { l.graph.value(append(&l, Op::kQuantize)).type = DataType::kUInt8; }) ==
        "Quantize 'last': output: expected int8, found 'z' of uint8");
}

TEST_CASE("integers: one operand of arithmetic may be a constant of int8") {
  const auto with_constant = [](Layers& l, size_t operand) {
    const ValueId two = l.graph.add_constant("two", integer_constant<int8_t>({2, 1, 1}, {1, 1}));
    l.graph.value(two).quantization = {{1.f}, {0}, 0};
    l.graph.nodes[1].inputs[operand] = two;
    return two;
  };
  CHECK(refusal([&](Layers& l) { with_constant(l, 1); }) == "accepted");
  CHECK(refusal([&](Layers& l) { with_constant(l, 0); }) == "accepted");
  CHECK(refusal([&](Layers& l) {
          const ValueId two = with_constant(l, 0);
          l.graph.nodes[1].inputs[1] = two;
        }) == "Add 'sum': input: expected a computed value, found 'two' of int8");
  CHECK(refusal([&](Layers& l) { l.graph.value(with_constant(l, 1)).quantization = {}; }) ==
        "Add 'sum': input 'two': expected one scale and zero point, found 0");
  CHECK(refusal([&](Layers& l) {
          Value& two = l.graph.value(with_constant(l, 1));
          two.constant = Tensor::filled({2, 1, 1}, 1.f);
          make_float(&two);
        }) == "Add 'sum': input: expected int8, found 'two' of float32");
}

TEST_CASE("integers: scales and zero points are checked by node") {
  CHECK(refusal([](Layers& l) { l.graph.value(l.conv).quantization = {}; }) ==
        "Conv 'conv': output 'y': expected one scale and zero point, found 0");
  CHECK(refusal([](Layers& l) {
          l.graph.value(l.x).quantization = {{1, 2}, {0, 0}, 1};
        }) == "Conv 'conv': input 'x': expected one scale and zero point, found 2");
  CHECK(refusal([](Layers& l) { l.graph.value(append(&l, Op::kIdentity)).quantization.scales[0] = 2.f; }) ==
        "Identity 'last': expected the same scale and zero point for 's' and 'z', found 1.000000, 3 and 2.000000, 3");
  CHECK(refusal([](Layers& l) {
          l.graph.value(append(&l, Op::kReshape, ReshapeAttrs{{0, -1}})).quantization.zero_points[0] = 4;
        }) ==
        "Reshape 'last': expected the same scale and zero point for 's' and 'z', found 1.000000, 3 and 1.000000, 4");
  CHECK(refusal([](Layers& l) { append(&l, Op::kSoftmax, AxisAttrs{1}); }) ==
        "Softmax 'last': output: expected scale 1/256 and zero point -128, found 1.000000 and 3");
}

TEST_CASE("integers: weights, biases and fused activations are checked by node") {
  CHECK(refusal([](Layers& l) { l.graph.value(l.weight).quantization = {}; }) ==
        "Conv 'conv': weight 'w': expected one scale, or one per output (axis 0)");
  CHECK(refusal([](Layers& l) { l.graph.value(l.weight).quantization.axis = 1; }) ==
        "Conv 'conv': weight 'w': expected one scale, or one per output (axis 0)");
  CHECK(refusal([](Layers& l) { l.graph.value(l.weight).quantization.zero_points[1] = 1; }) ==
        "Conv 'conv': weight 'w': expected zero point 0");
  CHECK(refusal([](Layers& l) {
          l.graph.value(l.weight).constant = Tensor::filled({2, 2, 1, 1}, 1.f);
          make_float(&l.graph.value(l.weight));
        }) == "Conv 'conv': weight: expected constant int8, found 'w' of float32");
  CHECK(refusal([](Layers& l) {
          l.graph.value(l.bias).constant = Tensor::filled({2}, 1.f);
          l.graph.value(l.bias).type = DataType::kFloat32;
        }) == "Conv 'conv': bias: expected constant int32, found 'b' of float32");
  CHECK(refusal([](Layers& l) { l.node(0).inputs.push_back(l.x); }) ==
        "Conv 'conv': a residual of int8: expected an Add");
  CHECK(refusal([](Layers& l) {
          std::get<ConvAttrs>(l.node(0).attrs).activation = {Activation::Kind::kSigmoid, 0, 0};
        }) == "Conv 'conv': fused activation: expected Relu, Clip or none");
  // The same weights in a layer of float32.
  Graph g;
  const ValueId w = g.add_constant("w", Tensor{DataType::kInt8, {2, 4}, nullptr, kBytes});
  g.outputs = {g.add_node(Op::kFullyConnected, "fc", {g.add_input("x", {1, 4}), w}, FullyConnectedAttrs{})};
  const auto session = Session::create(g, {});
  REQUIRE_FALSE(session.ok());
  CHECK(session.status().message() ==
        "FullyConnected 'fc': input 'w': expected a constant of real numbers, found int8");
}

TEST_CASE("integers: sums that 32 bits do not hold are refused") {
  CHECK(refusal([](Layers& l) {
          l.graph.value(l.bias).constant = integer_constant<int32_t>({2}, {0, INT32_MAX - 300});
        }) == "Conv 'conv': output 1: expected sums that 32 bits hold, found up to 2147484250");
  // (3 + 4) * (128 + 1) + 2147482000 is within.
  CHECK(refusal([](Layers& l) {
          l.graph.value(l.bias).constant = integer_constant<int32_t>({2}, {0, 2147482000});
        }) == "accepted");
  // A factor of 512 needs ten more bits.
  CHECK(refusal([](Layers& l) {
          l.graph.value(l.weight).quantization = {{512.f}, {0}, 0};
          l.graph.value(l.bias).constant = integer_constant<int32_t>({2}, {0, -3000000});
        }) == "Conv 'conv': output 1: expected sums that 32 bits hold, found up to 3000903 times 2^10");
  CHECK(refusal([](Layers& l) {
          l.graph.value(l.weight).quantization = {{3e9f}, {0}, 0};
        }) == "Conv 'conv': scales: expected factors below 2^30 between them, found 3000000000.000000");
  CHECK(refusal([](Layers& l) {
          l.graph.value(append(&l, Op::kGlobalAveragePool)).quantization = {{1e-9f}, {0}, 0};
        }) == "GlobalAveragePool 'last': expected sums that 32 bits hold, found up to 2295 times 2^27");
  CHECK(refusal([](Layers& l) {
          l.graph.value(append(&l, Op::kRelu)).quantization = {{1e-8f}, {0}, 0};
        }) == "Relu 'last': expected sums that 32 bits hold, found up to 255 times 2^27");
  CHECK(refusal([](Layers& l) {
          l.node(1).op = Op::kMul;
          l.graph.value(l.sum).quantization = {{1e-6f}, {0}, 0};
        }) == "Mul 'sum': expected sums that 32 bits hold, found up to 65025 times 2^18");
  CHECK(refusal([](Layers& l) {
          l.graph.value(l.sum).quantization = {{1e-9f}, {0}, 0};
        }) == "Add 'sum': expected sums that 32 bits hold, found up to 267386880 times 2^10");
}

TEST_CASE("integers: pools over too many pixels are refused") {
  for (const bool global : {true, false}) {
    Random random(1);
    IntegerMaker g(random);
    const ValueId x = g.input({1, 1, 4096, 4096}, {{1.f}, {0}, 0});
    PoolAttrs pool;
    pool.kernel = {4096, 4096};
    const ValueId y =
        global ? g.node(Op::kGlobalAveragePool, {x}, NoAttrs{}, {{1.f}, {0}, 0}) : g.move(Op::kAveragePool, {x}, pool);
    const auto session = Session::create(g.finish({y}), {});
    REQUIRE_FALSE(session.ok());
    CHECK(session.status().message().find("expected sums that 32 bits hold") != std::string::npos);
  }
}

TEST_CASE("integers: a Softmax over more elements than its sum holds is refused") {
  for (const int64_t elements : {4095, 4096}) {
    Random random(1);
    IntegerMaker g(random);
    const ValueId x = g.input({1, elements}, {{0.1f}, {0}, 0});
    const auto session =
        Session::create(g.finish({g.node(Op::kSoftmax, {x}, AxisAttrs{1}, {{1.f / 256}, {-128}, 0})}), {});
    CHECK(session.ok() == (elements < 4096));
    if (!session.ok())
      CHECK(session.status().message() ==
            "Softmax 'Softmax2': expected at most 4095 elements along the axis, found 4096");
  }
}

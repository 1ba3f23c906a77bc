// Consistency of whole graphs: what infer_shapes rejects beyond single nodes, batches, and counts.
#include <doctest/doctest.h>
#include <sparsenet/graph.h>

#include <cmath>
#include <limits>

#include "support/random_graphs.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

Graph small_graph() {
  Graph g;
  const ValueId x = g.add_input("x", {1, 3, 4, 4});
  const ValueId w = g.add_constant("w", Tensor::filled({2, 3, 1, 1}, 0.5f));
  const ValueId y = g.add_node(Op::kConv, "conv", {x, w}, ConvAttrs{}, "y");
  g.outputs = {g.add_node(Op::kRelu, "relu", {y}, NoAttrs{}, "z")};
  return g;
}

std::string why_refused(Graph g) {
  const Status status = g.infer_shapes();
  CHECK(status.code() == StatusCode::kInvalidModel);
  CHECK(status.message().find('\n') == std::string::npos);
  return status.message();
}

void expect(const std::string& message, const std::string& part) {
  CHECK_MESSAGE(message.find(part) != std::string::npos, "'" << part << "' is not in '" << message << "'");
}

}  // namespace

TEST_CASE("infer_shapes refuses inconsistent graphs and says where") {
  Graph g = small_graph();
  REQUIRE(g.infer_shapes().ok());
  SUBCASE("no input") {
    g.inputs.clear();
    expect(why_refused(g), "the graph has no input");
  }
  SUBCASE("no output") {
    g.outputs.clear();
    expect(why_refused(g), "the graph has no output");
  }
  SUBCASE("an output that does not exist") {
    g.outputs = {99};
    expect(why_refused(g), "graph output 99 is never made");
    g.outputs = {-1};
    expect(why_refused(g), "graph output -1 is never made");
  }
  SUBCASE("an output that nobody makes") {
    Value value;
    value.name = "orphan";
    g.values.push_back(value);
    g.outputs = {static_cast<ValueId>(g.values.size() - 1)};
    expect(why_refused(g), "is never made");
  }
  SUBCASE("an input id out of range") {
    g.inputs.push_back(1000);
    expect(why_refused(g), "graph input 1000 does not exist");
  }
  SUBCASE("an input listed twice") {
    g.inputs.push_back(g.inputs[0]);
    expect(why_refused(g), "'x'");
  }
  SUBCASE("a constant as graph input") {
    g.inputs.push_back(1);
    expect(why_refused(g), "'w'");
  }
  SUBCASE("an input without a shape") {
    g.values[0].shape = {};
    expect(why_refused(g), "'x'");
  }
  SUBCASE("an input whose size overflows") {
    const int64_t huge = std::numeric_limits<int64_t>::max();
    g.values[0].shape = {1, 3, huge, huge};
    expect(why_refused(g), "too large");
  }
  SUBCASE("inputs of different batch") {
    g.add_input("second", {2, 3});
    expect(why_refused(g), "expected batch 1, found [2, 3]");
  }
  SUBCASE("a node input out of range") {
    g.nodes[1].inputs[0] = 4711;
    expect(why_refused(g), "Relu 'relu': input value 4711 does not exist");
    g.nodes[1].inputs[0] = -7;
    expect(why_refused(g), "Relu 'relu': input value -7 does not exist");
  }
  SUBCASE("a node output out of range") {
    g.nodes[1].outputs[0] = 4711;
    expect(why_refused(g), "Relu 'relu': output value 4711 does not exist");
  }
  SUBCASE("nodes out of order") {
    std::swap(g.nodes[0], g.nodes[1]);
    expect(why_refused(g), "Relu 'relu': input 'y' is used before it is made");
  }
  SUBCASE("a node that reads itself") {
    g.nodes[1].inputs[0] = g.nodes[1].outputs[0];
    expect(why_refused(g), "used before it is made");
  }
  SUBCASE("a value made twice") {
    g.nodes.push_back(g.nodes[1]);
    expect(why_refused(g), "output 'z' is made twice");
  }
  SUBCASE("a node that overwrites a constant") {
    g.nodes[1].outputs[0] = 1;
    expect(why_refused(g), "output 'w' is made twice");
  }
  SUBCASE("two values of one name") {
    g.values[2].name = "x";
    expect(why_refused(g), "two values are named 'x'");
  }
  SUBCASE("a value without a name") {
    g.values[2].name.clear();
    expect(why_refused(g), "value 2 has no name");
  }
  SUBCASE("a constant without data") {
    g.values[1].constant.data = nullptr;
    expect(why_refused(g), "constant 'w'");
  }
  SUBCASE("a constant whose data has another shape") {
    g.values[1].shape = {4, 3, 1, 1};
    expect(why_refused(g), "constant 'w'");
  }
  SUBCASE("an output too large to count") {
    const int64_t big = int64_t{1} << 29;
    g.values[0].shape = {1, 3, big, big};
    const Status status = g.infer_shapes();
    CHECK((status.ok() || status.code() == StatusCode::kInvalidModel));
  }
}

TEST_CASE("the ops' inputs must be float32") {
  Graph g;
  const ValueId x = g.add_input("x", {1, 4}, DataType::kInt32);
  g.outputs = {g.add_node(Op::kRelu, "relu", {x})};
  // Graph::infer_shapes may leave types to Session; only running on wrong bytes is forbidden (session tests).
  const Status status = g.infer_shapes();
  CHECK((status.ok() || status.code() == StatusCode::kInvalidModel || status.code() == StatusCode::kUnsupported));
}

TEST_CASE("add_node names its output uniquely and leaves bad shapes to infer_shapes") {
  Graph g;
  const ValueId x = g.add_input("x", {1, 4});
  const ValueId a = g.add_node(Op::kRelu, "x", {x});
  CHECK(g.value(a).name != "x");
  const ValueId b = g.add_node(Op::kGlobalAveragePool, "pool", {a});  // needs rank 4
  CHECK(g.shape(b).empty());
  g.outputs = {b};
  expect(why_refused(g), "'pool'");
}

TEST_CASE("set_batch changes every shape, and back again") {
  for (const std::vector<Generator>* list :
       {&layer_generators(), &data_generators(), &general_generators(), &network_generators()}) {
    for (const Generator& generator : *list) {
      if (generator.may_refuse) continue;
      Graph g = make_graph(generator, 5);
      const std::string what = generator.name;
      REQUIRE_MESSAGE(g.infer_shapes().ok(), what);
      const int64_t batch = g.shape(g.inputs[0])[0];
      Graph changed = g;
      const Status status = changed.set_batch(5);
      REQUIRE_MESSAGE(status.ok(), what, ": ", status.message());
      CHECK_MESSAGE(changed.shape(changed.outputs[0])[0] == 5, what);
      REQUIRE_MESSAGE(changed.set_batch(batch).ok(), what);
      for (size_t i = 0; i < g.values.size(); ++i) CHECK_MESSAGE(changed.values[i].shape == g.values[i].shape, what);
    }
  }
  Graph g = small_graph();
  CHECK(g.set_batch(0).code() == StatusCode::kInvalidArgument);
  CHECK(g.set_batch(-3).code() == StatusCode::kInvalidArgument);
  CHECK_FALSE(g.set_batch(std::numeric_limits<int64_t>::max()).ok());
}

TEST_CASE("parameters count once where nodes share them; MACs are per image") {
  Graph g;
  const ValueId x = g.add_input("x", {3, 4, 8, 8});
  const ValueId w = g.add_constant("w", Tensor::filled({4, 4, 3, 3}, 0.1f));
  const ValueId b = g.add_constant("b", Tensor::filled({4}, 0.1f));
  ConvAttrs attrs;
  attrs.kernel = {3, 3};
  attrs.pads = {1, 1, 1, 1};
  ValueId y = g.add_node(Op::kConv, "first", {x, w, b}, attrs);
  y = g.add_node(Op::kConv, "second", {y, w, b}, attrs);
  const ValueId vector = g.add_constant("v", Tensor::filled({4}, 1));
  y = g.add_node(Op::kBatchNorm, "bn", {y, vector, b, b, vector}, BatchNormAttrs{});
  g.outputs = {y};
  REQUIRE(g.infer_shapes().ok());
  CHECK(g.parameter_count() == 4 * 4 * 9 + 4 + 4);  // the norm's shift is the bias; its scale is added
  CHECK(g.macs_per_image() == 2 * 64 * 4 * 4 * 9);
}

TEST_CASE("element_count survives hostile shapes") {
  const int64_t huge = std::numeric_limits<int64_t>::max();
  CHECK(element_count({}) == 1);
  CHECK(element_count({2, 3, 4}) == 24);
  CHECK(element_count({huge, 2}) == -1);
  CHECK(element_count({2, -1}) == -1);
  CHECK(element_count({0, 5}) == 0);
  CHECK(element_count({int64_t{1} << 32, int64_t{1} << 32}) == -1);
}

TEST_CASE("quantisation belongs to integers and fits their shape") {
  Graph g;
  const ValueId x = g.add_input("x", {1, 2, 4, 4});
  static const int8_t kData[6] = {-127, 0, 127, 1, 2, 3};
  const ValueId w = g.add_constant("w", Tensor{DataType::kInt8, {3, 2}, nullptr, kData});
  g.outputs = {g.add_node(Op::kRelu, "relu", {x})};
  const auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  const auto why_refused = [&](ValueId id, Quantization q) {
    Graph copy = g;
    copy.value(id).quantization = std::move(q);
    return copy.infer_shapes().message();
  };
  CHECK(why_refused(w, {{0.5f}, {3}, 0}) == "");
  CHECK(why_refused(w, {{0.5f, 1.f, 2.f}, {0, -128, 127}, 0}) == "");
  CHECK(why_refused(w, {{0.5f, 1.f}, {0, 0}, 1}) == "");
  CHECK(has(why_refused(x, {{0.5f}, {0}, 0}), "expected a value of int8, uint8 or int32, found float32"));
  CHECK(has(why_refused(w, {{0.5f, 1.f}, {0, 0}, 0}), "one scale, or one for each index of an axis of [3, 2]"));
  CHECK(has(why_refused(w, {{0.5f, 1.f}, {0, 0}, 2}), "found 2 and axis 2"));
  CHECK(has(why_refused(w, {{0.5f, 1.f}, {0, 0}, -1}), "found 2 and axis -1"));
  CHECK(has(why_refused(w, {{0.5f}, {}, 0}), "as many zero points as scales"));
  CHECK(has(why_refused(w, {{}, {1}, 0}), "as many zero points as scales"));
  CHECK(has(why_refused(w, {{0.f}, {0}, 0}), "positive scales"));
  CHECK(has(why_refused(w, {{std::numeric_limits<float>::infinity()}, {0}, 0}), "positive scales"));
  CHECK(has(why_refused(w, {{std::nanf("")}, {0}, 0}), "positive scales"));
  CHECK(has(why_refused(w, {{1.f}, {128}, 0}), "zero points that its type holds, found 128"));
}

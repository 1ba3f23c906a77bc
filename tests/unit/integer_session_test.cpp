// Sessions of graphs of integers: elements of their own type, real numbers, slices, and that wrong types are refused.
#include <doctest/doctest.h>
#include <sparsenet/session.h>

#include <cmath>
#include <limits>

#include "plan/plan.h"
#include "support/integer_oracle.h"
#include "support/random_integers.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

// The input, unchanged, as the output: what set_input() writes and get_output() reads.
Graph copy_graph(DataType type, int32_t zero_point, float scale = 0.5f) {
  Graph g;
  const ValueId x = g.add_input("pixels", {1, 8}, type);
  g.value(x).quantization = {{scale}, {zero_point}, 0};
  const ValueId y = g.add_node(type == DataType::kInt8 ? Op::kRelu : Op::kQuantize, "node", {x}, NoAttrs{}, "same");
  g.value(y).type = DataType::kInt8;
  // So that Relu leaves everything as it is.
  g.value(y).quantization = {{scale}, {type == DataType::kInt8 ? -128 : zero_point - 128}, 0};
  g.outputs = {y};
  return g;
}

Session session_of(const Graph& graph, const SessionOptions& options = {}) {
  auto session = Session::create(graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  return std::move(*session);
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

TEST_CASE("integers: sessions tell types, scales and zero points") {
  const Session session = session_of(copy_graph(DataType::kUInt8, 100));
  CHECK(session.inputs()[0].type == DataType::kUInt8);
  CHECK(session.inputs()[0].quantization.scales == std::vector<float>{0.5f});
  CHECK(session.inputs()[0].quantization.zero_points == std::vector<int32_t>{100});
  CHECK(session.outputs()[0].type == DataType::kInt8);
  CHECK(session.outputs()[0].quantization.zero_points == std::vector<int32_t>{-28});
}

TEST_CASE("integers: elements of another type are refused by name") {
  Session session = session_of(copy_graph(DataType::kUInt8, 100));
  int8_t bytes[8] = {};
  uint8_t unsigned_bytes[8] = {};
  CHECK(session.set_input(0, bytes, 8).message() == "input 'pixels': expected elements of uint8, found int8");
  CHECK(session.set_input(0, bytes, 8).code() == StatusCode::kInvalidArgument);
  CHECK(session.set_input(0, unsigned_bytes, 8).ok());
  CHECK(session.run().ok());
  CHECK(session.get_output(0, unsigned_bytes, 8).message() == "output 'same': expected elements of int8, found uint8");
  CHECK(session.get_output(0, bytes, 8).ok());
  CHECK_FALSE(session.set_input(0, unsigned_bytes, 7).ok());
  CHECK_FALSE(session.set_input(1, unsigned_bytes, 8).ok());
  CHECK_FALSE(session.set_input(0, static_cast<uint8_t*>(nullptr), 8).ok());
  CHECK_FALSE(session.get_output(0, bytes, 9).ok());
  CHECK_FALSE(session.get_output(1, bytes, 8).ok());
  CHECK_FALSE(session.get_output(0, static_cast<int8_t*>(nullptr), 8).ok());

  Graph floats;
  floats.outputs = {floats.add_node(Op::kRelu, "relu", {floats.add_input("x", {1, 8})})};
  Session other = session_of(floats);
  CHECK(other.set_input(0, bytes, 8).message() == "input 'x': expected elements of float32, found int8");
  CHECK_FALSE(other.get_output(0, bytes, 8).ok());
}

TEST_CASE("integers: all bytes come back as they went in") {
  for (int first = -128; first < 128; first += 8) {
    int8_t in[8], out[8];
    for (int i = 0; i < 8; ++i) in[i] = static_cast<int8_t>(first + i);
    Session session = session_of(copy_graph(DataType::kInt8, -128));
    REQUIRE(session.set_input(0, in, 8).ok());
    REQUIRE(session.run().ok());
    REQUIRE(session.get_output(0, out, 8).ok());
    for (int i = 0; i < 8; ++i) CHECK(out[i] == in[i]);
  }
}

TEST_CASE("integers: real numbers are rounded away from zero, clamped, and NaN is the zero point") {
  Session session = session_of(copy_graph(DataType::kInt8, -28));
  const float in[8] = {0.25f, -0.25f, 0.2f, 1000.f, -1000.f, kInfinity, -kInfinity, NAN};
  const int expected[8] = {-27, -29, -28, 127, -128, 127, -128, -28};
  REQUIRE(session.set_input(0, in, 8).ok());
  REQUIRE(session.run().ok());
  // The output's zero point is -128, and Relu keeps what is above it.
  int8_t out[8];
  REQUIRE(session.get_output(0, out, 8).ok());
  for (int i = 0; i < 8; ++i) {
    CAPTURE(i);
    CHECK(int{out[i]} == std::min(127, std::max(0, expected[i] + 28) - 128));
  }
  float real[8];
  REQUIRE(session.get_output(0, real, 8).ok());
  for (int i = 0; i < 8; ++i) CHECK(real[i] == 0.5f * static_cast<float>(out[i] + 128));

  Session bytes = session_of(copy_graph(DataType::kUInt8, 100));
  const int expected_bytes[8] = {101, 99, 100, 255, 0, 255, 0, 100};
  REQUIRE(bytes.set_input(0, in, 8).ok());
  REQUIRE(bytes.run().ok());
  REQUIRE(bytes.get_output(0, out, 8).ok());
  for (int i = 0; i < 8; ++i) {
    CAPTURE(i);
    CHECK(int{out[i]} == expected_bytes[i] - 128);
  }
}

TEST_CASE("integers: slices give the bytes of the whole batch, from integers and from real numbers") {
  Random random(11);
  IntegerMaker g(random);
  const ValueId bytes = g.input({6, 3, 7, 9}, {{0.25f}, {3}, 0});
  const ValueId pixels = g.input({6, 3, 7, 9}, {{0.5f}, {100}, 0}, DataType::kUInt8);
  const ValueId other = g.node(Op::kQuantize, {pixels}, NoAttrs{}, {{0.5f}, {0}, 0});
  const ValueId sum = g.node(Op::kAdd, {bytes, other}, NoAttrs{}, {{0.5f}, {-5}, 0});
  ConvAttrs attrs;
  attrs.pads = {1, 1, 1, 1};
  const ValueId y = g.layer(sum, {5, 3, 3, 3}, attrs);
  const ValueId real = g.node(Op::kDequantize, {y}, NoAttrs{}, {});
  g.graph.value(real).type = DataType::kFloat32;
  const Graph graph = g.finish({real, sum});
  const std::vector<Array> inputs = integer_inputs(graph, 1, InputKind::kAny);
  const auto expected = evaluate_integers(graph, inputs);
  REQUIRE_MESSAGE(expected.ok(), expected.status().message());
  const std::vector<int8_t> first(inputs[0].data.begin(), inputs[0].data.end());
  const std::vector<uint8_t> second(inputs[1].data.begin(), inputs[1].data.end());
  std::vector<float> first_real, second_real;
  for (const int8_t v : first) first_real.push_back(0.25f * static_cast<float>(v - 3));
  for (const uint8_t v : second) second_real.push_back(0.5f * static_cast<float>(v - 100));
  for (const int64_t images : {6, 3, 2, 1}) {
    CAPTURE(images);
    SessionOptions options;
    options.batch = 6;
    options.images_at_once = images;
    options.threads = 2;
    Session session = session_of(graph, options);
    CHECK(session.images_at_once() == images);
    for (const bool floats : {false, true}) {
      CAPTURE(floats);
      REQUIRE((floats ? session.set_input(0, first_real.data(), first.size())
                      : session.set_input(0, first.data(), first.size()))
                  .ok());
      REQUIRE((floats ? session.set_input(1, second_real.data(), second.size())
                      : session.set_input(1, second.data(), second.size()))
                  .ok());
      REQUIRE(session.run().ok());
      std::vector<float> real_out(expected->outputs[0].size()), sum_real(first.size());
      std::vector<int8_t> sum_out(first.size());
      REQUIRE(session.get_output(0, real_out.data(), real_out.size()).ok());
      REQUIRE(session.get_output(1, sum_out.data(), sum_out.size()).ok());
      REQUIRE(session.get_output(1, sum_real.data(), sum_real.size()).ok());
      CHECK(std::vector<double>(real_out.begin(), real_out.end()) == expected->outputs[0].data);
      CHECK(std::vector<double>(sum_out.begin(), sum_out.end()) == expected->outputs[1].data);
      bool same = true;
      for (size_t i = 0; i < sum_out.size(); ++i) {
        same = same && sum_real[i] == 0.5f * static_cast<float>(sum_out[i] + 5);
      }
      CHECK(same);
    }
  }
}

TEST_CASE("integers: a sum is part of the convolution in front of it where that may be") {
  // x, the convolutions `first` and `second` of it, and their sum.
  const auto steps = [](bool keep_second, bool between, size_t* names) {
    Random random(7);
    IntegerMaker g(random);
    const ValueId x = g.input({1, 4, 5, 5});
    const ValueId first = g.layer(x, {4, 4, 1, 1}), second = g.layer(x, {4, 4, 1, 1});
    const ValueId operand = between ? g.node(Op::kQuantize, {second}, NoAttrs{}, g.quantization()) : second;
    const ValueId sum = g.node(Op::kAdd, {first, operand}, NoAttrs{}, g.quantization(0.5));
    std::vector<ValueId> outputs{sum};
    if (keep_second) outputs.push_back(second);
    const auto plan = make_plan(g.finish(outputs));
    REQUIRE_MESSAGE(plan.ok(), plan.status().message());
    *names = plan->buffers.size();
    size_t with_residual = 0;
    for (const rt::Step& step : plan->steps) with_residual += step.quant->residual ? 1 : 0;
    return std::make_pair(plan->steps.size(), with_residual);
  };
  size_t buffers = 0;
  CHECK(steps(false, false, &buffers) == std::make_pair(size_t{2}, size_t{1}));
  CHECK(buffers == 2);  // the second convolution writes over the first one's result
  // The second convolution's own result is wanted, and the first one's comes too early to add it.
  CHECK(steps(true, false, &buffers) == std::make_pair(size_t{3}, size_t{0}));
  CHECK(steps(false, true, &buffers) == std::make_pair(size_t{4}, size_t{0}));
}

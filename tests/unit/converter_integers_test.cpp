// TensorFlow Lite files with integers: what converts, what becomes of it, and what is refused by name.
// (What whole networks compute is in integer_networks_test.)
#include <doctest/doctest.h>
#include <sparsenet/session.h>

#include "converter/importers.h"
#include "support/imported.h"
#include "support/random.h"
#include "support/skip.h"
#include "support/tflite_file.h"

namespace sparsenet::converter {
namespace {

using test::TfliteFile;
using tflite::ActivationFunctionType;
using tflite::BuiltinOperator;
using tflite::TensorType;
using Quantized = TfliteFile::Quantized;

struct Tflite {
  Report report;
  Graph graph;

  explicit Tflite(const std::vector<uint8_t>& bytes) { graph = import_tflite(bytes.data(), bytes.size(), &report); }
  std::string problems() const { return test::problems_of(report); }
  const Value& output() const { return graph.value(graph.outputs[0]); }
  // Why a session refuses the graph.
  std::string refusal() const { return Session::create(graph, {}).status().message(); }
};

std::vector<uint8_t> integers(const std::vector<int32_t>& values, size_t size) {
  std::vector<uint8_t> out;
  for (const int32_t v : values) {
    for (size_t i = 0; i < size; ++i) out.push_back(static_cast<uint8_t>(static_cast<uint32_t>(v) >> (8 * i)));
  }
  return out;
}

const Quantized kOne{{0.5f}, {3}, 0};

// A fully connected layer of [1, 2] to [1, 3] with the given types and quantisations.
struct Layer {
  TensorType input = TensorType::INT8, weight = TensorType::INT8, bias = TensorType::INT32, output = TensorType::INT8;
  Quantized in = kOne, of_weight{{0.5f, 0.25f, 2.f}, {0, 0, 0}, 0}, out{{4.f}, {-5}, 0};
  ActivationFunctionType activation = ActivationFunctionType::NONE;

  Tflite convert() const {
    TfliteFile file;
    const int32_t x = file.tensor("x", {1, 2}, input, in);
    const size_t size = weight == TensorType::FLOAT32 ? 4 : weight == TensorType::INT16 ? 2 : 1;
    const int32_t w = file.tensor("w", {3, 2}, weight, of_weight, integers({1, -2, 3, -4, 5, -127}, size));
    const int32_t b = file.tensor("b", {3}, bias, {}, integers({100, -200, 70000}, 4));
    const int32_t y = file.tensor("y", {1, 3}, output, out);
    const auto options = tflite::CreateFullyConnectedOptions(file.builder(), activation);
    file.op(BuiltinOperator::FULLY_CONNECTED, {x, w, b}, {y}, options);
    return Tflite(file.finish({x}, {y}));
  }
};

template <class Change>
Layer layer(Change change) {
  Layer l;
  change(l);
  return l;
}

// One operator on x [1, 4, 4, 2] of int8 without options.
Tflite unary(BuiltinOperator code, const Quantized& in, const Quantized& out) {
  TfliteFile file;
  const int32_t x = file.tensor("x", {1, 4, 4, 2}, TensorType::INT8, in);
  const int32_t y = file.tensor("y", {1, 4, 4, 2}, TensorType::INT8, out);
  file.op(code, {x}, {y});
  return Tflite(file.finish({x}, {y}));
}

TEST_CASE("tflite integers: a layer keeps its integers, scales, zero points and activation") {
  const Tflite t = layer([](Layer& l) { l.activation = ActivationFunctionType::RELU6; }).convert();
  CHECK(t.problems() == "");
  REQUIRE(t.graph.nodes.size() == 1);
  const Node& node = t.graph.nodes[0];
  CHECK(node.op == Op::kFullyConnected);
  CHECK(node.rounding == Rounding::kDouble);
  CHECK(std::get<FullyConnectedAttrs>(node.attrs).activation == Activation{Activation::Kind::kClip, 0.f, 6.f});
  const Value &x = t.graph.value(node.inputs[0]), &w = t.graph.value(node.inputs[1]),
              &b = t.graph.value(node.inputs[2]);
  CHECK(x.type == DataType::kInt8);
  CHECK(x.quantization.scales == std::vector<float>{0.5f});
  CHECK(x.quantization.zero_points == std::vector<int32_t>{3});
  REQUIRE(w.type == DataType::kInt8);
  CHECK(w.quantization.scales == std::vector<float>{0.5f, 0.25f, 2.f});
  CHECK(w.quantization.axis == 0);
  const auto* weights = static_cast<const int8_t*>(w.constant.data);
  CHECK(std::vector<int>(weights, weights + 6) == std::vector<int>{1, -2, 3, -4, 5, -127});
  REQUIRE(b.type == DataType::kInt32);
  const auto* biases = static_cast<const int32_t*>(b.constant.data);
  CHECK(std::vector<int32_t>(biases, biases + 3) == std::vector<int32_t>{100, -200, 70000});
  CHECK(t.output().type == DataType::kInt8);
  CHECK(t.output().quantization.zero_points == std::vector<int32_t>{-5});
  CHECK(t.refusal() == "");
}

TEST_CASE("tflite integers: weights of convolutions are reordered as the graph has them") {
  TfliteFile file;
  const int32_t x = file.tensor("x", {1, 4, 4, 2}, TensorType::INT8, kOne);
  const int32_t w =
      file.tensor("w", {2, 1, 2, 2}, TensorType::INT8, {{0.5f, 1.f}, {0, 0}, 0}, integers({1, 2, 3, 4, 5, 6, 7, 8}, 1));
  const int32_t y = file.tensor("y", {1, 4, 4, 2}, TensorType::INT8, kOne);
  file.op(BuiltinOperator::CONV_2D, {x, w}, {y},
          tflite::CreateConv2DOptions(file.builder(), tflite::Padding::SAME, 1, 1, ActivationFunctionType::RELU));
  // Depthwise weights are [1, H, W, C], with a scale for each index of the last axis.
  const int32_t d =
      file.tensor("d", {1, 1, 2, 2}, TensorType::INT8, {{2.f, 4.f}, {0, 0}, 3}, integers({1, 2, 3, 4}, 1));
  const int32_t z = file.tensor("z", {1, 4, 3, 2}, TensorType::INT8, kOne);
  file.op(BuiltinOperator::DEPTHWISE_CONV_2D, {y, d}, {z},
          tflite::CreateDepthwiseConv2DOptions(file.builder(), tflite::Padding::VALID, 1, 1, 1));
  const Tflite t(file.finish({x}, {z}));
  CHECK(t.problems() == "");
  REQUIRE(t.graph.nodes.size() == 2);
  const auto weights_of = [&](size_t node) {
    const Value& value = t.graph.value(t.graph.nodes[node].inputs[1]);
    CHECK(value.quantization.axis == 0);
    const auto* data = static_cast<const int8_t*>(value.constant.data);
    return std::vector<int>(data, data + value.constant.elements());
  };
  CHECK(weights_of(0) == std::vector<int>{1, 3, 2, 4, 5, 7, 6, 8});
  CHECK(weights_of(1) == std::vector<int>{1, 3, 2, 4});
  CHECK(t.graph.value(t.graph.nodes[1].inputs[1]).quantization.scales == std::vector<float>{2.f, 4.f});
  CHECK(std::get<ConvAttrs>(t.graph.nodes[0].attrs).activation.kind == Activation::Kind::kRelu);
  CHECK(t.refusal() == "");
}

TEST_CASE("tflite integers: QUANTIZE and DEQUANTIZE, also from UINT8") {
  for (const TensorType type : {TensorType::FLOAT32, TensorType::UINT8, TensorType::INT8}) {
    TfliteFile file;
    const int32_t x =
        file.tensor("x", {1, 4}, type, type == TensorType::FLOAT32 ? Quantized{} : Quantized{{0.25f}, {7}, 0});
    const int32_t q = file.tensor("q", {1, 4}, TensorType::INT8, kOne);
    const int32_t y = file.tensor("y", {1, 4}, TensorType::FLOAT32);
    file.op(BuiltinOperator::QUANTIZE, {x}, {q});
    file.op(BuiltinOperator::DEQUANTIZE, {q}, {y});
    const Tflite t(file.finish({x}, {y}));
    CHECK(t.problems() == "");
    REQUIRE(t.graph.nodes.size() == 2);
    CHECK(t.graph.nodes[0].op == Op::kQuantize);
    CHECK(t.graph.nodes[1].op == Op::kDequantize);
    CHECK(t.graph.value(t.graph.inputs[0]).quantization.empty() == (type == TensorType::FLOAT32));
    auto session = Session::create(t.graph, {});
    REQUIRE_MESSAGE(session.ok(), session.status().message());
    const float in[4] = {0.25f, -1.f, 3.1f, 63.f};
    const float expected[4] = {0.5f, -1.f, 3.f, 62.f};  // in halves, from -65.5 to 62
    float out[4];
    REQUIRE(session->set_input(0, in, 4).ok());
    REQUIRE(session->run().ok());
    REQUIRE(session->get_output(0, out, 4).ok());
    // From int8 in quarters, 63 becomes 127 - 7 quarters first.
    for (int i = 0; i < 4; ++i) CHECK(out[i] == (i == 3 && type == TensorType::INT8 ? 30.f : expected[i]));
  }
}

TEST_CASE("tflite integers: int8 weights beside floats become the numbers that they stand for") {
  const Layer l = layer([](Layer& change) {
    change.input = change.output = change.bias = TensorType::FLOAT32;
    change.in = change.out = {};
    change.of_weight = {{0.5f, 0.25f, 2.f}, {0, 1, 0}, 0};
  });
  const Tflite t = l.convert();
  CHECK(t.problems() == "");
  const Value& w = t.graph.value(t.graph.nodes[0].inputs[1]);
  REQUIRE(w.type == DataType::kFloat32);
  CHECK(w.quantization.empty());
  const float* weights = w.constant.f32();
  CHECK(std::vector<float>(weights, weights + 6) == std::vector<float>{0.5f, -1.f, 0.5f, -1.25f, 10.f, -254.f});
  REQUIRE(t.report.notes.size() == 1);
  CHECK(t.report.notes[0] == "tensor 'w' converted from INT8 to float32");
  CHECK(t.refusal() == "");
}

TEST_CASE("tflite integers: other integers are refused in one line") {
  for (const TensorType type : {TensorType::INT16, TensorType::INT4}) {
    const Layer l = layer([&](Layer& change) { change.input = change.weight = change.output = type; });
    const Tflite t = l.convert();
    REQUIRE(t.report.problems.size() == 1);
    CHECK(t.problems() == "tensor 'x': the network is quantised to " + std::string(tflite::EnumNameTensorType(type)) +
                              ", which this version does not convert: use the model in int8, uint8 or float\n");
  }
}

TEST_CASE("tflite integers: parameters of other types beside int8 are refused by name") {
  CHECK(layer([](Layer& l) { l.weight = TensorType::FLOAT32; })
            .convert()
            .problems()
            .find("weight (input 1): expected INT8 beside an input of INT8, found FLOAT32") != std::string::npos);
  CHECK(layer([](Layer& l) { l.bias = TensorType::FLOAT32; })
            .convert()
            .problems()
            .find("bias (input 2): expected INT32 beside an input of INT8, found FLOAT32") != std::string::npos);
}

TEST_CASE("tflite integers: missing or several scales of a value are refused by name") {
  CHECK(layer([](Layer& l) { l.out = {}; }).convert().refusal() ==
        "FullyConnected 'y': output 'y': expected one scale and zero point, found 0");
  CHECK(layer([](Layer& l) { l.in = {}; }).convert().refusal() ==
        "FullyConnected 'y': input 'x': expected one scale and zero point, found 0");
  CHECK(layer([](Layer& l) { l.of_weight = {}; }).convert().refusal() ==
        "FullyConnected 'y': weight 'w': expected one scale, or one per output (axis 0)");
}

// The weights of a layer as the graph has them, and how many inputs it reads.
std::vector<int> weights_of(const Tflite& t) {
  REQUIRE_MESSAGE(t.problems() == "", t.problems());
  for (const Node& node : t.graph.nodes) {
    if (node.op != Op::kFullyConnected) continue;
    const Value& w = t.graph.value(node.inputs[1]);
    CHECK(w.quantization.zero_points == std::vector<int32_t>(w.quantization.scales.size(), 0));
    const auto* values = static_cast<const int8_t*>(w.constant.data);
    return {values, values + w.constant.elements()};
  }
  return {};
}

TEST_CASE("tflite integers: zero points of weights are taken off, into a second part where int8 ends") {
  // The weights are 1, -2, 3, -4, 5, -127.
  const Tflite one = layer([](Layer& l) { l.of_weight = {{0.5f}, {1}, 0}; }).convert();
  CHECK(weights_of(one) == std::vector<int>{0, -3, 2, -5, 4, -128});
  CHECK(one.refusal() == "");
  const Tflite each = layer([](Layer& l) { l.of_weight = {{0.5f, 1.f, 2.f}, {1, 0, -2}, 0}; }).convert();
  CHECK(weights_of(each) == std::vector<int>{0, -3, 3, -4, 7, -125});
  // Of the second input alone a second copy is read: -136 is -128 - 8.
  const Tflite nine = layer([](Layer& l) { l.of_weight = {{0.5f}, {9}, 0}; }).convert();
  CHECK(weights_of(nine) == std::vector<int>{-8, -11, 0, -6, -13, 0, -4, -128, -8});
  REQUIRE(nine.graph.nodes.size() == 3);
  CHECK(nine.graph.nodes[0].op == Op::kSlice);
  CHECK(nine.graph.nodes[1].op == Op::kConcat);
  CHECK(nine.refusal() == "");
  CHECK(
      layer([](Layer& l) {
        l.of_weight = {{0.5f}, {200}, 0};
      })
          .convert()
          .problems() ==
      "FULLY_CONNECTED 'y': weight 'w' with zero point 200: its integers less their zero point go beyond -256 to 254, "
      "up to -327\n");
}

TEST_CASE("tflite integers: uint8 becomes int8, and the input stays uint8") {
  const Layer l = layer([](Layer& change) {
    change.input = change.weight = change.output = TensorType::UINT8;
    change.in = {{0.5f}, {130}, 0};
    change.of_weight = {{0.5f}, {128}, 0};
    change.out = {{4.f}, {123}, 0};
  });
  const Tflite t = l.convert();
  CHECK(weights_of(t) == std::vector<int>{-127, 126, -125, 124, -123, 1});
  REQUIRE(t.graph.nodes.size() == 2);
  const Value &input = t.graph.value(t.graph.inputs[0]), &x = t.graph.value(t.graph.nodes[1].inputs[0]);
  CHECK(input.type == DataType::kUInt8);
  CHECK(input.quantization.zero_points == std::vector<int32_t>{130});
  CHECK(t.graph.nodes[0].op == Op::kQuantize);
  CHECK(x.type == DataType::kInt8);
  CHECK(x.quantization.zero_points == std::vector<int32_t>{2});
  CHECK(t.output().type == DataType::kInt8);
  CHECK(t.output().quantization.zero_points == std::vector<int32_t>{-5});
  REQUIRE(t.report.notes.size() == 1);
  CHECK(t.report.notes[0] ==
        "output 'y': uint8 in the file, in the model int8, the same integers and zero point less 128");
  CHECK(t.refusal() == "");
}

TEST_CASE("tflite integers: depthwise weights of uint8 that int8 does not hold are refused with a way out") {
  TfliteFile file;
  const Quantized one{{0.5f}, {128}, 0};
  const int32_t x = file.tensor("x", {1, 4, 4, 2}, TensorType::UINT8, one);
  const int32_t w =
      file.tensor("w", {1, 1, 2, 2}, TensorType::UINT8, {{2.f}, {100}, 3}, integers({0, 100, 227, 228}, 1));
  const int32_t y = file.tensor("y", {1, 4, 3, 2}, TensorType::UINT8, one);
  file.op(BuiltinOperator::DEPTHWISE_CONV_2D, {x, w}, {y},
          tflite::CreateDepthwiseConv2DOptions(file.builder(), tflite::Padding::VALID, 1, 1, 1));
  CHECK(
      Tflite(file.finish({x}, {y})).problems() ==
      "DEPTHWISE_CONV_2D 'y': weight 'w' with zero point 100: less that, its integers go beyond int8, which only "
      "convolutions without groups and fully connected layers can have: quantise the float network to int8 instead\n");
}

TEST_CASE("tflite integers: what cannot be computed is refused by name, all of it at once") {
  CHECK(unary(BuiltinOperator::RELU, kOne, {{1.f}, {-128}, 0}).refusal() == "");
  CHECK(unary(BuiltinOperator::LOGISTIC, kOne, kOne).refusal() ==
        "Sigmoid 'y': output: expected scale 1/256 and zero point -128, found 0.500000 and 3");
  CHECK(unary(BuiltinOperator::TANH, kOne, {{1.f / 128}, {1}, 0}).refusal() ==
        "Tanh 'y': output: expected scale 1/128 and zero point 0, found 0.007812 and 1");
  CHECK(unary(BuiltinOperator::TANH, {{1e-9f}, {0}, 0}, {{1.f / 128}, {0}, 0}).refusal() ==
        "Tanh 'y': input: expected a scale of at least 2^-28");
  {
    TfliteFile file;
    const int32_t x = file.tensor("x", {1, 4}, TensorType::INT8, kOne);
    const int32_t a = file.tensor("a", {1, 4}, TensorType::INT8, kOne);
    const int32_t b = file.tensor("b", {1, 4}, TensorType::INT8, kOne);
    const int32_t c = file.tensor("c", {1, 4}, TensorType::INT8, kOne);
    const int32_t d = file.tensor("d", {1, 4}, TensorType::INT8, {{0.001f}, {3}, 0});
    file.op(BuiltinOperator::LOGISTIC, {x}, {a});
    file.op(BuiltinOperator::DIV, {x, a}, {b});
    file.op(BuiltinOperator::SQUARED_DIFFERENCE, {x, b}, {c});
    file.op(BuiltinOperator::HARD_SWISH, {b}, {d});
    CHECK(Tflite(file.finish({x}, {c, d})).problems() ==
          "SQUARED_DIFFERENCE 'c': this operator is not supported\n"
          "Sigmoid 'a': output: expected scale 1/256 and zero point -128, found 0.500000 and 3\n"
          "Div 'b': this op computes with float32 only, found 'x' of int8\n"
          "HardSwish 'd': output: expected a scale of at least 1/128 of the input's, found 0.001000 and 0.500000\n");
  }
  {
    TfliteFile file;
    const int32_t x = file.tensor("x", {1, 4}, TensorType::INT8, kOne);
    const int32_t y = file.tensor("y", {1, 4}, TensorType::INT8, {{1.f / 256}, {-128}, 0});
    file.op(BuiltinOperator::SOFTMAX, {x}, {y}, tflite::CreateSoftmaxOptions(file.builder(), 2.f));
    CHECK(Tflite(file.finish({x}, {y})).problems().find("beta: expected 1 for int8, found 2") != std::string::npos);
  }
}

TEST_CASE("tflite integers: operators that only move numbers keep scale and zero point") {
  for (const bool same : {true, false}) {
    TfliteFile file;
    const Quantized other{{0.5f}, {4}, 0};
    const int32_t a = file.tensor("a", {1, 4, 4, 2}, TensorType::INT8, kOne);
    const int32_t b = file.tensor("b", {1, 4, 4, 3}, TensorType::INT8, same ? kOne : other);
    const int32_t y = file.tensor("y", {1, 4, 4, 5}, TensorType::INT8, kOne);
    file.op(BuiltinOperator::CONCATENATION, {a, b}, {y}, tflite::CreateConcatenationOptions(file.builder(), 3));
    const Tflite t(file.finish({a, b}, {y}));
    if (same) {
      CHECK(t.problems() == "");
      CHECK(t.refusal() == "");
    } else {
      const std::string expected = "input 'b': expected the scale and zero point of 'a', which the operator only moves";
      CHECK_MESSAGE(t.problems().find(expected) != std::string::npos, t.problems());
    }
  }
  TfliteFile file;
  const int32_t x = file.tensor("x", {1, 4}, TensorType::INT8, kOne);
  const int32_t shape = file.tensor("shape", {2}, TensorType::INT32, {}, integers({1, 4}, 4));
  const int32_t y = file.tensor("y", {1, 4}, TensorType::INT8, {{0.25f}, {3}, 0});
  file.op(BuiltinOperator::RESHAPE, {x, shape}, {y});
  CHECK(Tflite(file.finish({x}, {y})).problems().find("output 'y': expected the input's type, scale and zero point") !=
        std::string::npos);
}

TEST_CASE("tflite integers: damaged files are refused or read, and never crash, nor does running what is read") {
  TfliteFile file;
  const int32_t pixels = file.tensor("pixels", {1, 4, 4, 2}, TensorType::UINT8, {{0.5f}, {128}, 0});
  const int32_t x = file.tensor("x", {1, 4, 4, 2}, TensorType::INT8, kOne);
  file.op(BuiltinOperator::QUANTIZE, {pixels}, {x});
  const int32_t w =
      file.tensor("w", {2, 1, 1, 2}, TensorType::INT8, {{0.5f, 1.f}, {0, 0}, 0}, integers({1, 2, 3, 4}, 1));
  const int32_t b = file.tensor("b", {2}, TensorType::INT32, {{0.5f}, {0}, 0}, integers({100, -100}, 4));
  const int32_t y = file.tensor("y", {1, 4, 4, 2}, TensorType::INT8, kOne);
  file.op(BuiltinOperator::CONV_2D, {x, w, b}, {y},
          tflite::CreateConv2DOptions(file.builder(), tflite::Padding::SAME, 1, 1, ActivationFunctionType::RELU6));
  const int32_t p = file.tensor("p", {1, 2, 2, 2}, TensorType::INT8, kOne);
  file.op(BuiltinOperator::AVERAGE_POOL_2D, {y}, {p},
          tflite::CreatePool2DOptions(file.builder(), tflite::Padding::VALID, 2, 2, 2, 2));
  const int32_t s = file.tensor("s", {1, 2, 2, 2}, TensorType::INT8, {{1.f / 256}, {-128}, 0});
  file.op(BuiltinOperator::SOFTMAX, {p}, {s}, tflite::CreateSoftmaxOptions(file.builder(), 1.f));
  const std::vector<uint8_t> bytes = file.finish({pixels}, {s});
  test::Random random(8);
  int ran = 0, refused = 0;
  for (int round = std::max(500, test::scaled_by_effort(4000)); round > 0; --round) {
    std::vector<uint8_t> damaged = bytes;
    for (int i = random.integer(1, 3); i > 0; --i) {
      const uint8_t choices[] = {0, 1, 2, 0x7F, 0x80, 0xFF, static_cast<uint8_t>(random.next())};
      damaged[random.index(damaged.size())] = choices[random.index(7)];
    }
    const Tflite t(damaged);
    SessionOptions options;
    options.threads = 1;
    options.max_memory_bytes = 1 << 20;
    auto session = t.report.problems.empty() ? Session::create(t.graph, options) : Result<Session>(invalid_model("-"));
    refused += !session.ok();
    if (!session.ok()) continue;
    for (size_t i = 0; i < session->inputs().size(); ++i) {
      const std::vector<float> values(static_cast<size_t>(element_count(session->inputs()[i].shape)), 0.7f);
      CHECK(session->set_input(i, values.data(), values.size()).ok());
    }
    CHECK(session->run().ok());
    ++ran;
  }
  CHECK(ran > 50);
  CHECK(refused > 50);
}

}  // namespace
}  // namespace sparsenet::converter
